"""`hcflow figure NAME` makes the paper's figures for any trained model. Each figure is a module of this package."""

FIGURES = {
    "samples": "sheets of samples, of one model or of several with the same seeds (Figures 1, 4, 10, 11)",
    "variation": "which pixels each level decides, as maps and as a video (Figure 5)",
    "zeroing": "what each level adds: levels at zero, from the finest on (Figures 6, 8)",
    "curves": "distances or bits/dim of runs during training (Figure 7)",
    "neighbours": "samples beside their nearest training images (Figure 9)",
    "interpolate": "rows or a grid of images between images, also as a video",
    "walk": "a walk through the latents, as a strip or a video",
    "mix": "coarse levels of some images with fine levels of others, a matrix",
    "architecture": "a diagram of the model, of one flow, or of one level's networks (Figures 2, 3, 12)",
}
