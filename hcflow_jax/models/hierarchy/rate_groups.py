"""The three groups of parameters, each with its own learning rate (Table 2, "Learning rate")."""

# Table 2's "decoder" is the decoder's convolutions, U-Nets and learned constant. These parts of the decoder belong to
# the group "flows" instead: the dense layers of the style, `to_condition` and `to_skip`, the convolution of the base,
# and the linear map from y_prior to the condition of y_1 ("y1").
_DECODER_FLOWS = r"decoder/(?:y1|base/conv|(?:.+/)?(?:style_in|style_out|to_condition|to_skip))/"

# (group, regular expression for the paths of parameters). The lookahead ensures that a path of the decoder matches
# only one row.
RATE_GROUPS = (
    ("encoder", r"^encoder/"),
    ("decoder", rf"^(?!{_DECODER_FLOWS})decoder/"),
    ("flows", rf"^{_DECODER_FLOWS}"),
    ("flows", r"^(?:flows|style)/"),
)
