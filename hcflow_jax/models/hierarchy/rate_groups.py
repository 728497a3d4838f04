"""The three groups of parameters with learning rates of their own (Table 2, "Learning rate")."""

# The parts of the decoder that do not belong to "the decoder's convs, U-Nets and learned constant": the dense layers
# of the style, the layers whose output leaves a level, the base's conv, and the linear map from y_prior to the
# condition of y_1 ("y1").
_DECODER_FLOWS = r"decoder/(?:y1|base/conv|(?:.+/)?(?:style_in|style_out|to_condition|to_skip))/"

# (group, pattern of parameters' paths). The lookahead makes the decoder's two rows exclude each other.
RATE_GROUPS = (
    ("encoder", r"^encoder/"),
    ("decoder", rf"^(?!{_DECODER_FLOWS})decoder/"),
    ("flows", rf"^{_DECODER_FLOWS}"),
    ("flows", r"^(?:flows|style)/"),
)
