"""The fields that all families of models have: images, training, evaluation, samples, and how a model is computed.

A family declares the others (`registry.Family`): the group `model` and the rate groups in `train.learning_rate` and
`train.decay`. It may also have other defaults for the fields here.
"""

from hcflow_jax.config.fields import COUNT, NOT_NEGATIVE, POSITIVE, STEPS, WHOLE, Field, Rule, Tree, one_of

_FRACTION = Rule("be a fraction in [0, 1]", lambda value: 0 <= value <= 1)
_BELOW_ONE = Rule("be in [0, 1)", lambda value: 0 <= value < 1)
_BITS = Rule("be 1 to 8", lambda value: value in range(1, 9))
_DTYPE = one_of("auto", "float32", "bfloat16")


SEED = Field(0, "seed of everything random in training")

DATA: Tree = {
    "source": Field("portraits", "where the images are: portraits, prepared, folder, zip, lsun or tfds", resume=True),
    "path": Field(
        "",
        "prepared, folder, lsun: the directory; zip: the file; tfds: its data_dir; portraits: the "
        'cache ("" for tfds and portraits: the user\'s default directory). A prepared directory can be in a bucket: '
        "gs://BUCKET/NAME or s3://BUCKET/NAME",
        resume=True,
        path=True,
        stores=("gs", "s3"),
    ),
    "name": Field(
        "",
        'tfds: the builder, such as celeb_a_hq/256; "": the prepared builder\'s directory is `data.path`',
        resume=True,
    ),
    "eval_path": Field(
        "",
        'prepared, folder, zip, lsun: where the held-out images lie; "": at the end of the set',
        resume=True,
        path=True,
        stores=("gs", "s3"),
    ),
    "resolution": Field(256, "height and width of the images; that of the finest level", unit="pixels"),
    "bits": Field(8, "bits that are kept of each 8-bit value", unit="bits", rule=_BITS),
    "noise_std": Field(
        0.005,
        "standard deviation of the Gaussian noise on images x, in [-0.5, 0.5]; one 8-bit level is 1/256",
        rule=NOT_NEGATIVE,
    ),
    "flip": Field(True, "mirror half of the training images, chosen at random"),
    "style": Field("toon-head", "portraits: the illustrator's style", resume=True),
    "train_images": Field(12_000, "portraits: illustrations for training", unit="images", resume=True),
    "eval_images": Field(
        2_000,
        "portraits: held-out illustrations. Sets without held-out images of their own: how many of the last "
        "images are held out, unless `data.eval_fraction` is above 0",
        unit="images",
        resume=True,
    ),
    "eval_fraction": Field(0.0, "fraction of a set that is held out; 0: `data.eval_images` decides", resume=True),
    "read_threads": Field(2, "threads that read images, each one batch at a time", unit="threads", resume=True),
    "read_timeout": Field(
        300.0, "time without a batch after which a run ends with an error", unit="seconds", resume=True
    ),
    "cache_gigabytes": Field(
        50.0,
        "prepared sets in a bucket: how much of this machine's disk their copies may take; 0: no copies",
        unit="GB",
        rule=NOT_NEGATIVE,
        resume=True,
    ),
    "allow_other_images": Field(
        False, "resume even if the training set is not the one that the checkpoint was trained on", resume=True
    ),
}

TRAIN: Tree = {
    "batch_size": Field(
        16,
        "batch of all devices together; a multiple of `model.statistics_group`, if the family has it",
        "images",
        COUNT,
    ),
    "accumulate": Field(
        1,
        "parts into which a device's share of the batch is cut; they are computed one after the other",
        "micro-batches",
        COUNT,
        resume=True,
    ),
    "num_steps": Field(1_000_000, "length of the run", "steps", STEPS, resume=True),
    "images_per_epoch": Field(0, "length of an epoch; 0: the size of the training set", "images", WHOLE),
    "init_images": Field(
        64,
        "images that initialise the actnorms; a multiple of `model.statistics_group`, if the family has it",
        "images",
        COUNT,
    ),
    "init_from": Field(
        "",
        "the trained model whose EMA a fresh run starts from: a workdir, a step in its checkpoints/, a weights file, "
        'or the name of a bundled model; "": none. A run that has a checkpoint resumes from that',
        resume=True,
        path=True,
        stores=("gs", "s3"),
    ),
    "optimizer": Field("adam", "optimizer of all rate groups", rule=one_of("adam", "adamax", "muon")),
    "decay_after": Field(10, "at every even epoch above this one the learning rates fall", "epochs", WHOLE),
    "freeze_epoch": Field(
        60, "epoch from which the model's frozen group (the encoder) does not learn; 0: never", "epochs", WHOLE
    ),
    "clip_norm": Field(50.0, "largest global norm of the gradient, over the parameters that learn", rule=POSITIVE),
    "warmup_steps": Field(
        0, "length of the warm-up, in which the learning rates rise linearly from 0", "steps", WHOLE
    ),
    "warmup_images": Field(0, "length of the warm-up in images; set only one of the two", "images", WHOLE),
    "final_decay": Field(
        0.0, "last part of the run, in which the learning rates fall linearly to 0", "fraction", _FRACTION
    ),
    "adam_b1": Field(0.9, "decay of the first moment (not of Muon's)", rule=_BELOW_ONE),
    "adam_b2": Field(0.999, "decay of the second moment (Adamax: of the infinity norm)", rule=_BELOW_ONE),
    "adam_eps": Field(1e-8, "epsilon, which is added to the denominator", rule=POSITIVE),
    "ema_decay": Field(
        0.995, "decay of the EMA per step; during epoch 0 the EMA is a copy of the parameters", rule=_BELOW_ONE
    ),
    "log_every": Field(20, "interval of the rows of metrics", "steps", COUNT, resume=True),
    "eval_every": Field(
        5_000,
        "interval of the held-out evaluations; 0: only at the start and at the end",
        "steps",
        WHOLE,
        resume=True,
    ),
    "sample_every": Field(1_000, "interval of the sample sheets; 0: only at the end", "steps", WHOLE, resume=True),
    "measure_every": Field(
        0, "interval at which `eval.metrics` are measured on the EMA; 0: never", "steps", WHOLE, resume=True
    ),
    "watch_every": Field(
        1_000,
        "interval at which the flows' scales and condition numbers are logged; 0: never",
        "steps",
        WHOLE,
        resume=True,
    ),
    "checkpoint_every": Field(
        1_000, "interval of the checkpoints; the last step is saved too", "steps", COUNT, resume=True
    ),
    "keep_checkpoints": Field(3, "how many of the newest are kept", "checkpoints", COUNT, resume=True),
    "keep_every": Field(0, "checkpoints at multiples of this are kept, too; 0: none", "steps", WHOLE, resume=True),
    "max_skipped": Field(
        20,
        "number of skipped steps in a row (loss or gradient not finite) that end a run; 0: never",
        "steps",
        WHOLE,
        resume=True,
    ),
}

EVAL: Tree = {
    "images": Field(
        2_000,
        "number of held-out images over which the bound is averaged; all, if there are fewer",
        "images",
        resume=True,
    ),
    "batch_size": Field(
        16,
        "batch of all devices together; a multiple of `model.statistics_group`, if the family has it",
        "images",
        COUNT,
        resume=True,
    ),
    "seed": Field(
        1, "seed of the noise of the bound; the key of an image is fold_in(key(eval.seed), its index)", resume=True
    ),
    "draws": Field(1, "draws of the bound's noise for each image", "draws", COUNT, resume=True),
    "metrics": Field(
        "bits",
        "what `--mode=eval` measures, and a run every `train.measure_every` steps: bits, fid, kid, prc, nearest and "
        "exactness, joined by commas",
        resume=True,
    ),
    "protocol": Field(
        "plain",
        "protocol of the distances: how many samples, which real images, and how these are prepared",
        rule=one_of("plain", "paper", "figure7"),
        resume=True,
    ),
    "samples": Field(0, "samples for the distances; 0: what the protocol says", "images", WHOLE, resume=True),
    "denoise": Field(
        False,
        "denoise the samples of fid, kid, prc and nearest: one step against the noise `data.noise_std`",
        resume=True,
    ),
    "extractor": Field(
        "",
        "network whose features the distances compare: inception, efficientnet-lite0, or an illustrated set's "
        'attribute classifier; "": inception where its weights are named, else efficientnet-lite0',
        resume=True,
    ),
    "weights": Field(
        "",
        'file of the weights of FID\'s Inception network; "": what the environment variable HCFLOW_INCEPTION names',
        resume=True,
        path=True,
    ),
}

SAMPLE: Tree = {
    "count": Field(64, "images on a sheet", "images", COUNT, resume=True),
    "sigma": Field(
        0.7,
        "standard deviation of the latents (Figures 4 and 11); that of the 1x1 vector is 1",
        rule=NOT_NEGATIVE,
        resume=True,
    ),
    "seed": Field(0, "seed of the latents", resume=True),
}

EXECUTION: Tree = {
    "preset": Field(
        "auto",
        "backend whose preset the value `auto` takes in the fields below; auto: the backend of the run",
        rule=one_of("auto", "cpu", "gpu", "tpu"),
        resume=True,
    ),
    "dtype": Field("auto", "dtype of the networks' arithmetic (flows stay float32)", rule=_DTYPE, resume=True),
    "encoder_dtype": Field(
        "auto",
        "dtype of the encoder; auto: `execution.dtype`. bfloat16 makes its gradient noisier",
        rule=_DTYPE,
        resume=True,
    ),
    "loop": Field(
        "auto",
        "flow steps of the same shape: in a loop, or unrolled",
        rule=one_of("auto", "scan", "unroll"),
        resume=True,
    ),
    "conv": Field(
        "auto",
        "how a convolution and its gradients are computed (auto: paired on GPUs, shifted on CPUs, xla on TPUs)",
        rule=one_of("auto", "xla", "paired", "shifted", "padded"),
        resume=True,
    ),
    "resample": Field(
        "auto",
        "how resolution is halved and doubled: elementwise (taps), or as matrix products",
        rule=one_of("auto", "taps", "matrix"),
        resume=True,
    ),
    "gain": Field(
        "auto",
        "what a layer's constant factor multiplies",
        rule=one_of("auto", "weights", "result"),
        resume=True,
    ),
    "halves": Field(
        "auto",
        "layers whose output has two halves: one convolution, or one for each half",
        rule=one_of("auto", "one", "each"),
        resume=True,
    ),
    "update": Field(
        "auto",
        "what the optimizer updates: vectors of many tensors (few kernels), or each tensor (auto: on TPUs)",
        rule=one_of("auto", "vectors", "tensors"),
        resume=True,
    ),
    "freeze_program": Field(
        True, "after the freeze, use a second program without the gradients of the frozen group", resume=True
    ),
    "backward": Field(
        "store",
        "what the flow steps keep for the backward pass. store: all activations (fastest). recompute: the "
        "input of each step; its network runs again. reversible: nothing; inputs are rebuilt through the inverse, "
        "and gradients carry its rounding",
        rule=one_of("store", "recompute", "reversible"),
        resume=True,
    ),
}
