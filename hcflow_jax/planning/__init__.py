"""What a training run would cost on devices that are not here: memory, time, collectives, hours and price.

XLA compiles the training step for a device that it does not have (`compile_step`). `roofline` computes from the
optimised program the least time that the device needs. `costs` turns this into the cost of a run. The package keeps
the results for configuration A (`kept`), so that `hcflow plan` shows them without compiling. docs/plan.md says what
the numbers mean.

Importing this package imports neither jax nor numpy.
"""
