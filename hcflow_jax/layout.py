"""The names of all files and folders in a workdir. Every other module takes them from here."""

CONFIG = "config.json"  # the config of the run; training writes it before the first step
PARAMETERS = "parameters.txt"  # a table of the parameters
HISTORY = "history.jsonl"  # one row for each logged step and each evaluation
SKIPPED = "skipped.jsonl"  # one row for each skipped step
TENSORBOARD = "tensorboard"  # TensorBoard's event files
SAMPLES = "samples"  # sheets that the run drew
PROFILE = "profile"  # the trace of --profile
RESULT = "result.json"  # what training gave in the end
EVAL = "eval.json"  # what --mode=eval measured
SAMPLING = "sampling.json"  # the sigma that `hcflow tune-sigma` found
REPORT = "report"  # what `hcflow report` made

CHECKPOINTS = "checkpoints"  # one folder for each saved step
UNREADABLE = "unreadable"  # saved steps that could not be read
SEAL = "seal.json"  # in the folder of a step: sizes and checksums of its files

LOCK = ".lock"  # held by the run that writes in a workdir on this machine
LEASE = "lease.json"  # the same in a bucket
