"""The kernel roofline of a small program, against an answer computed by hand."""

# ruff: noqa: E501 - the lines of a program are as long as XLA prints them

import dataclasses

import pytest

from hcflow_jax.planning import hlo, roofline

# A scheduled program: a loop of three trips around a convolution that takes its kernel from a stack of three, a
# matrix product in a fusion, an update in place of a stack, and a sum over devices.
PROGRAM = """HloModule step, is_scheduled=true

FileNames
1 "/home/me/model.py"
2 "/home/me/layers.py"

FunctionNames
1 "loss"

FileLocations
1 {file_name_id=1 function_name_id=1 line=7 end_line=7 column=1 end_column=9}
2 {file_name_id=2 function_name_id=1 line=30 end_line=30 column=1 end_column=9}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}

%slice_computation (p0: bf16[3,8,3,3,4], p1: s32[]) -> bf16[1,8,3,3,4] {
  %p0 = bf16[3,8,3,3,4]{4,3,2,1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %ds = bf16[1,8,3,3,4]{4,3,2,1,0} dynamic-slice(%p0, %p1, %zero, %zero, %zero, /*index=5*/%zero)
}

%update_computation (p0.1: f32[3,2,10,10,8], p1.1: bf16[2,10,10,8], p2.1: s32[]) -> f32[3,2,10,10,8] {
  %p0.1 = f32[3,2,10,10,8]{4,3,2,1,0} parameter(0)
  %p1.1 = bf16[2,10,10,8]{3,2,1,0} parameter(1)
  %wide = f32[2,10,10,8]{3,2,1,0} convert(%p1.1)
  %row = f32[1,2,10,10,8]{4,3,2,1,0} bitcast(%wide)
  %p2.1 = s32[] parameter(2)
  %zero.1 = s32[] constant(0)
  ROOT %dus = f32[3,2,10,10,8]{4,3,2,1,0} dynamic-update-slice(%p0.1, %row, %p2.1, %zero.1, %zero.1, /*index=5*/%zero.1)
}

%product_computation (p0.2: bf16[200,8], p1.2: f32[8,16]) -> f32[200,16] {
  %p0.2 = bf16[200,8]{1,0} parameter(0)
  %p1.2 = f32[8,16]{1,0} parameter(1)
  %small = bf16[8,16]{1,0} convert(%p1.2)
  ROOT %dot.1 = f32[200,16]{1,0} dot(%p0.2, %small), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (state: (s32[], bf16[2,10,10,4], bf16[3,8,3,3,4], f32[3,2,10,10,8])) -> (s32[], bf16[2,10,10,4]) {
  %state = (s32[], bf16[2,10,10,4]{3,2,1,0}, bf16[3,8,3,3,4]{4,3,2,1,0}, f32[3,2,10,10,8]{4,3,2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = bf16[2,10,10,4]{3,2,1,0} get-tuple-element(%state), index=1
  %stack = bf16[3,8,3,3,4]{4,3,2,1,0} get-tuple-element(%state), index=2
  %kept = f32[3,2,10,10,8]{4,3,2,1,0} get-tuple-element(%state), index=3
  %kernel = bf16[1,8,3,3,4]{4,3,2,1,0} fusion(%stack, %i), kind=kLoop, calls=%slice_computation
  %w = bf16[8,3,3,4]{3,2,1,0} bitcast(%kernel)
  %conv = (bf16[2,10,10,8]{3,2,1,0}, u8[0]{0}) custom-call(%x, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/conv/conv_general_dilated" stack_frame_id=2}
  %update = f32[3,2,10,10,8]{4,3,2,1,0} fusion(%kept, %conv#0, %i), kind=kLoop, calls=%update_computation
  ROOT %next = (s32[], bf16[2,10,10,4]{3,2,1,0}) tuple(%i, %x)
}

%condition (state.1: (s32[], bf16[2,10,10,4])) -> pred[] {
  %state.1 = (s32[], bf16[2,10,10,4]{3,2,1,0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (a: (s32[], bf16[2,10,10,4]), b: bf16[200,8], c: f32[8,16]) -> f32[200,16] {
  %a = (s32[], bf16[2,10,10,4]{3,2,1,0}) parameter(0)
  %b = bf16[200,8]{1,0} parameter(1)
  %c = f32[8,16]{1,0} parameter(2)
  %loop = (s32[], bf16[2,10,10,4]{3,2,1,0}) while(%a), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %product = f32[200,16]{1,0} fusion(%b, %c), kind=kCustom, calls=%product_computation, metadata={op_name="jit(step)/dot_general" stack_frame_id=1}
  ROOT %sum = f32[200,16]{1,0} all-reduce(%product), replica_groups={{0,1}}, to_apply=%add
}
""".replace("\\\n", "")

DEVICE = roofline.Device(bandwidth=1e9, bf16=1e11, tf32=5e10, float32=1e10)


@pytest.fixture(scope="module")
def kernels() -> dict[str, roofline.Kernel]:
    return {k.name: k for k in roofline.kernels(hlo.parse(PROGRAM), DEVICE)}


def test_which_instructions_are_kernels(kernels):
    assert {name: (k.kind, k.times) for name, k in kernels.items()} == {
        "kernel": ("copy", 3),
        "conv": ("convolution", 3),
        "update": ("copy", 3),
        "product": ("matmul", 1),
        "sum": ("collective", 1),
    }


def test_a_convolution(kernels):
    conv = kernels["conv"]
    assert conv.flops == 2 * (2 * 10 * 10 * 8) * 3 * 3 * 4
    assert conv.bytes == 2 * (2 * 10 * 10 * 4 + 8 * 3 * 3 * 4 + 2 * 10 * 10 * 8)
    assert conv.seconds == pytest.approx(max(conv.bytes / 1e9, conv.flops / 1e11))


def test_of_a_stack_only_the_slice_counts(kernels):
    assert kernels["kernel"].bytes == 2 * (2 * 8 * 3 * 3 * 4) + 4
    assert kernels["update"].bytes == 2 * (2 * 10 * 10 * 8) + 4 * (2 * 10 * 10 * 8) + 4


def test_a_product_in_a_fusion(kernels):
    assert kernels["product"].flops == 2 * 200 * 16 * 8
    assert kernels["product"].bytes == 2 * 200 * 8 + 4 * 8 * 16 + 4 * 200 * 16
    assert kernels["product"].float32_bytes == 4 * 200 * 16


def test_the_sum_over_kernels(kernels):
    each = {
        "kernel": 3 * (1156 / 1e9),
        "conv": 3 * max(5376 / 1e9, 115_200 / 1e11),
        "update": 3 * (9604 / 1e9),
        "product": max(16_512 / 1e9, 51_200 / 1e11),
        "sum": 25_600 / 1e9,
    }
    totals = roofline.summarise(list(kernels.values()), images=2)
    assert totals["ms_per_image"] == pytest.approx(1e3 * sum(each.values()) / 2)
    assert totals["kernels"] == 11
    assert totals["under_1us"] == 0  # on a device of 1 GB/s
    quick = [dataclasses.replace(kernel, seconds=kernel.seconds / 1e6) for kernel in kernels.values()]
    assert roofline.summarise(quick, images=2)["under_1us"] == 11
    assert totals["gflop_per_image"] == pytest.approx((3 * 115_200 + 51_200) / 2 / 1e9)
    assert totals["by_kind"]["convolution"]["kernels"] == 3
    assert totals["dearest"][0]["kernels"] == 3 and totals["dearest"][0]["kind"] == "copy"
    assert sum(row["kernels"] for row in totals["lines"]) == 11
    assert totals["lines"] == sorted(totals["lines"], key=lambda row: -row["kernels"])
    seconds = sum(kernel.seconds * kernel.times for kernel in kernels.values())
    assert sum(row["ms_per_image"] for row in totals["lines"]) == pytest.approx(1e3 * seconds / 2)


def test_sources_are_the_innermost_outside_the_layers(kernels):
    assert kernels["conv"].source.startswith("model.py:7 ")
    assert kernels["product"].source.startswith("model.py:7 ")


def test_what_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("hello")
