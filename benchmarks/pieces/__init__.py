"""One job in several libraries: a chain of conditional steps of actnorm, affine coupling and invertible 1x1 mixing.

`job` says what the job is and draws its weights; each other file does it with one library, as its users would.
"""
