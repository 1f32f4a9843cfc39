//! The encodings of each operation: by lane, width and feature level.
//!
//! The order of operands is Intel's; the last register or memory operand may be memory. A scalar form that has one
//! operand more than the packed one takes its upper lanes from it.

use iced_x86::Code;
use iced_x86::Code::*;
use paste::paste;

/// The encodings of one operation on one kind of lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Scalar, 128 and 256 bits.
    pub(crate) vex: [Code; 3],
    /// Scalar, 128, 256 and 512 bits.
    pub(crate) evex: [Code; 4],
}

/// An operation on lanes of 32 bits and of 64 bits.
pub(crate) type Op = [Row; 2];

/// `dst, a, b`, with a scalar form.
macro_rules! float3 {
    ($v:ident $e:ident $($s:ident)? : $($r:ident)?) => {
        paste! {[
            Row {
                vex: [[<VEX_ $v ss_xmm_xmm_xmmm32 $($s)?>], [<VEX_ $v ps_xmm_xmm_xmmm128 $($s)?>], [<VEX_ $v ps_ymm_ymm_ymmm256 $($s)?>]],
                evex: [
                    [<EVEX_ $e ss_xmm_k1z_xmm_xmmm32 $($s)? $($r)?>],
                    [<EVEX_ $e ps_xmm_k1z_xmm_xmmm128b32 $($s)?>],
                    [<EVEX_ $e ps_ymm_k1z_ymm_ymmm256b32 $($s)?>],
                    [<EVEX_ $e ps_zmm_k1z_zmm_zmmm512b32 $($s)? $($r)?>],
                ],
            },
            Row {
                vex: [[<VEX_ $v sd_xmm_xmm_xmmm64 $($s)?>], [<VEX_ $v pd_xmm_xmm_xmmm128 $($s)?>], [<VEX_ $v pd_ymm_ymm_ymmm256 $($s)?>]],
                evex: [
                    [<EVEX_ $e sd_xmm_k1z_xmm_xmmm64 $($s)? $($r)?>],
                    [<EVEX_ $e pd_xmm_k1z_xmm_xmmm128b64 $($s)?>],
                    [<EVEX_ $e pd_ymm_k1z_ymm_ymmm256b64 $($s)?>],
                    [<EVEX_ $e pd_zmm_k1z_zmm_zmmm512b64 $($s)? $($r)?>],
                ],
            },
        ]}
    };
}

/// `dst, a`; the scalar form is `dst, upper, a`.
macro_rules! float2 {
    ($v:ident $e:ident $($s:ident)? : $r:ident) => {
        paste! {[
            Row {
                vex: [[<VEX_ $v ss_xmm_xmm_xmmm32 $($s)?>], [<VEX_ $v ps_xmm_xmmm128 $($s)?>], [<VEX_ $v ps_ymm_ymmm256 $($s)?>]],
                evex: [
                    [<EVEX_ $e ss_xmm_k1z_xmm_xmmm32 $($s)? $r>],
                    [<EVEX_ $e ps_xmm_k1z_xmmm128b32 $($s)?>],
                    [<EVEX_ $e ps_ymm_k1z_ymmm256b32 $($s)?>],
                    [<EVEX_ $e ps_zmm_k1z_zmmm512b32 $($s)? $r>],
                ],
            },
            Row {
                vex: [[<VEX_ $v sd_xmm_xmm_xmmm64 $($s)?>], [<VEX_ $v pd_xmm_xmmm128 $($s)?>], [<VEX_ $v pd_ymm_ymmm256 $($s)?>]],
                evex: [
                    [<EVEX_ $e sd_xmm_k1z_xmm_xmmm64 $($s)? $r>],
                    [<EVEX_ $e pd_xmm_k1z_xmmm128b64 $($s)?>],
                    [<EVEX_ $e pd_ymm_k1z_ymmm256b64 $($s)?>],
                    [<EVEX_ $e pd_zmm_k1z_zmmm512b64 $($s)? $r>],
                ],
            },
        ]}
    };
}

/// `dst, a, b` on lanes that `v` does not tell apart before EVEX.
macro_rules! integer3 {
    ($v32:ident $v64:ident, $e:ident) => {
        paste! {[
            Row {
                vex: [INVALID, [<VEX_ $v32 _xmm_xmm_xmmm128>], [<VEX_ $v32 _ymm_ymm_ymmm256>]],
                evex: [
                    INVALID,
                    [<EVEX_ $e d_xmm_k1z_xmm_xmmm128b32>],
                    [<EVEX_ $e d_ymm_k1z_ymm_ymmm256b32>],
                    [<EVEX_ $e d_zmm_k1z_zmm_zmmm512b32>],
                ],
            },
            Row {
                vex: [INVALID, [<VEX_ $v64 _xmm_xmm_xmmm128>], [<VEX_ $v64 _ymm_ymm_ymmm256>]],
                evex: [
                    INVALID,
                    [<EVEX_ $e q_xmm_k1z_xmm_xmmm128b64>],
                    [<EVEX_ $e q_ymm_k1z_ymm_ymmm256b64>],
                    [<EVEX_ $e q_zmm_k1z_zmm_zmmm512b64>],
                ],
            },
        ]}
    };
}

/// `dst, a, b` that has 64-bit lanes in EVEX only.
macro_rules! integer3_evex {
    ($v32:ident, $e:ident) => {{
    const BOTH: Op = integer3!($v32 $v32, $e);
        [BOTH[0], Row { vex: [INVALID; 3], evex: BOTH[1].evex }]
    }};
}

/// `dst, a, count`: `count` an immediate, or in the lowest lane of a register.
macro_rules! shift {
    ($name:ident) => {
        paste! {[
            Row {
                vex: [INVALID, [<VEX_ $name d_xmm_xmm_imm8>], [<VEX_ $name d_ymm_ymm_imm8>]],
                evex: [
                    INVALID,
                    [<EVEX_ $name d_xmm_k1z_xmmm128b32_imm8>],
                    [<EVEX_ $name d_ymm_k1z_ymmm256b32_imm8>],
                    [<EVEX_ $name d_zmm_k1z_zmmm512b32_imm8>],
                ],
            },
            Row {
                vex: [INVALID, [<VEX_ $name q_xmm_xmm_imm8>], [<VEX_ $name q_ymm_ymm_imm8>]],
                evex: [
                    INVALID,
                    [<EVEX_ $name q_xmm_k1z_xmmm128b64_imm8>],
                    [<EVEX_ $name q_ymm_k1z_ymmm256b64_imm8>],
                    [<EVEX_ $name q_zmm_k1z_zmmm512b64_imm8>],
                ],
            },
        ]}
    };
}
macro_rules! shift_by_register {
    ($name:ident) => {
        paste! {[
            Row {
                vex: [INVALID, [<VEX_ $name d_xmm_xmm_xmmm128>], [<VEX_ $name d_ymm_ymm_xmmm128>]],
                evex: [
                    INVALID,
                    [<EVEX_ $name d_xmm_k1z_xmm_xmmm128>],
                    [<EVEX_ $name d_ymm_k1z_ymm_xmmm128>],
                    [<EVEX_ $name d_zmm_k1z_zmm_xmmm128>],
                ],
            },
            Row {
                vex: [INVALID, [<VEX_ $name q_xmm_xmm_xmmm128>], [<VEX_ $name q_ymm_ymm_xmmm128>]],
                evex: [
                    INVALID,
                    [<EVEX_ $name q_xmm_k1z_xmm_xmmm128>],
                    [<EVEX_ $name q_ymm_k1z_ymm_xmmm128>],
                    [<EVEX_ $name q_zmm_k1z_zmm_xmmm128>],
                ],
            },
        ]}
    };
}

pub(crate) const ADD: Op = float3!(Vadd Vadd: _er);
pub(crate) const SUB: Op = float3!(Vsub Vsub: _er);
pub(crate) const MUL: Op = float3!(Vmul Vmul: _er);
pub(crate) const DIV: Op = float3!(Vdiv Vdiv: _er);
pub(crate) const MIN: Op = float3!(Vmin Vmin: _sae);
pub(crate) const MAX: Op = float3!(Vmax Vmax: _sae);
pub(crate) const SQRT: Op = float2!(Vsqrt Vsqrt: _er);
pub(crate) const ROUND: Op = float2!(Vround Vrndscale _imm8: _sae);

/// Multiplication and addition; by sign (`ab+c`, `ab-c`, `-ab+c`, `-ab-c`) and form (132, 213, 231).
pub(crate) const FMA: [[Op; 3]; 4] = [
    [float3!(Vfmadd132 Vfmadd132: _er), float3!(Vfmadd213 Vfmadd213: _er), float3!(Vfmadd231 Vfmadd231: _er)],
    [float3!(Vfmsub132 Vfmsub132: _er), float3!(Vfmsub213 Vfmsub213: _er), float3!(Vfmsub231 Vfmsub231: _er)],
    [float3!(Vfnmadd132 Vfnmadd132: _er), float3!(Vfnmadd213 Vfnmadd213: _er), float3!(Vfnmadd231 Vfnmadd231: _er)],
    [float3!(Vfnmsub132 Vfnmsub132: _er), float3!(Vfnmsub213 Vfnmsub213: _er), float3!(Vfnmsub231 Vfnmsub231: _er)],
];

pub(crate) const AND: Op = integer3!(Vpand Vpand, Vpand);
pub(crate) const ANDN: Op = integer3!(Vpandn Vpandn, Vpandn);
pub(crate) const OR: Op = integer3!(Vpor Vpor, Vpor);
pub(crate) const XOR: Op = integer3!(Vpxor Vpxor, Vpxor);
pub(crate) const IADD: Op = integer3!(Vpaddd Vpaddq, Vpadd);
pub(crate) const ISUB: Op = integer3!(Vpsubd Vpsubq, Vpsub);
pub(crate) const SMIN: Op = integer3_evex!(Vpminsd, Vpmins);
pub(crate) const SMAX: Op = integer3_evex!(Vpmaxsd, Vpmaxs);
pub(crate) const UMIN: Op = integer3_evex!(Vpminud, Vpminu);
pub(crate) const UMAX: Op = integer3_evex!(Vpmaxud, Vpmaxu);
pub(crate) const IMUL: Op = integer3_evex!(Vpmulld, Vpmull);

pub(crate) const SHIFT_LEFT: Op = shift!(Vpsll);
pub(crate) const SHIFT_RIGHT: Op = shift!(Vpsrl);
pub(crate) const SHIFT_LEFT_BY: Op = shift_by_register!(Vpsll);
pub(crate) const SHIFT_RIGHT_BY: Op = shift_by_register!(Vpsrl);
/// 64-bit lanes in EVEX only.
pub(crate) const SHIFT_SIGN: Op = [
    Row {
        vex: [INVALID, VEX_Vpsrad_xmm_xmm_imm8, VEX_Vpsrad_ymm_ymm_imm8],
        evex: [
            INVALID,
            EVEX_Vpsrad_xmm_k1z_xmmm128b32_imm8,
            EVEX_Vpsrad_ymm_k1z_ymmm256b32_imm8,
            EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpsraq_xmm_k1z_xmmm128b64_imm8,
            EVEX_Vpsraq_ymm_k1z_ymmm256b64_imm8,
            EVEX_Vpsraq_zmm_k1z_zmmm512b64_imm8,
        ],
    },
];
pub(crate) const SHIFT_SIGN_BY: Op = [
    Row {
        vex: [INVALID, VEX_Vpsrad_xmm_xmm_xmmm128, VEX_Vpsrad_ymm_ymm_xmmm128],
        evex: [
            INVALID,
            EVEX_Vpsrad_xmm_k1z_xmm_xmmm128,
            EVEX_Vpsrad_ymm_k1z_ymm_xmmm128,
            EVEX_Vpsrad_zmm_k1z_zmm_xmmm128,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpsraq_xmm_k1z_xmm_xmmm128,
            EVEX_Vpsraq_ymm_k1z_ymm_xmmm128,
            EVEX_Vpsraq_zmm_k1z_zmm_xmmm128,
        ],
    },
];

/// `mask, a, b, predicate`: a vector of ones and zeros in VEX, a mask register in EVEX.
pub(crate) const COMPARE: Op = [
    Row {
        vex: [VEX_Vcmpss_xmm_xmm_xmmm32_imm8, VEX_Vcmpps_xmm_xmm_xmmm128_imm8, VEX_Vcmpps_ymm_ymm_ymmm256_imm8],
        evex: [
            EVEX_Vcmpss_kr_k1_xmm_xmmm32_imm8_sae,
            EVEX_Vcmpps_kr_k1_xmm_xmmm128b32_imm8,
            EVEX_Vcmpps_kr_k1_ymm_ymmm256b32_imm8,
            EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae,
        ],
    },
    Row {
        vex: [VEX_Vcmpsd_xmm_xmm_xmmm64_imm8, VEX_Vcmppd_xmm_xmm_xmmm128_imm8, VEX_Vcmppd_ymm_ymm_ymmm256_imm8],
        evex: [
            EVEX_Vcmpsd_kr_k1_xmm_xmmm64_imm8_sae,
            EVEX_Vcmppd_kr_k1_xmm_xmmm128b64_imm8,
            EVEX_Vcmppd_kr_k1_ymm_ymmm256b64_imm8,
            EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae,
        ],
    },
];
/// `mask, a, b, predicate`; EVEX only.
pub(crate) const ICOMPARE: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpcmpd_kr_k1_xmm_xmmm128b32_imm8,
            EVEX_Vpcmpd_kr_k1_ymm_ymmm256b32_imm8,
            EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpcmpq_kr_k1_xmm_xmmm128b64_imm8,
            EVEX_Vpcmpq_kr_k1_ymm_ymmm256b64_imm8,
            EVEX_Vpcmpq_kr_k1_zmm_zmmm512b64_imm8,
        ],
    },
];
/// The same without signs.
pub(crate) const UCOMPARE: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpcmpud_kr_k1_xmm_xmmm128b32_imm8,
            EVEX_Vpcmpud_kr_k1_ymm_ymmm256b32_imm8,
            EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpcmpuq_kr_k1_xmm_xmmm128b64_imm8,
            EVEX_Vpcmpuq_kr_k1_ymm_ymmm256b64_imm8,
            EVEX_Vpcmpuq_kr_k1_zmm_zmmm512b64_imm8,
        ],
    },
];
/// `mask, a, b`: the bits that both have are not all zero; EVEX only.
pub(crate) const TEST: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vptestmd_kr_k1_xmm_xmmm128b32,
            EVEX_Vptestmd_kr_k1_ymm_ymmm256b32,
            EVEX_Vptestmd_kr_k1_zmm_zmmm512b32,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vptestmq_kr_k1_xmm_xmmm128b64,
            EVEX_Vptestmq_kr_k1_ymm_ymmm256b64,
            EVEX_Vptestmq_kr_k1_zmm_zmmm512b64,
        ],
    },
];
/// `mask, a, b`; VEX only.
pub(crate) const EQUAL: Op = [
    Row { vex: [INVALID, VEX_Vpcmpeqd_xmm_xmm_xmmm128, VEX_Vpcmpeqd_ymm_ymm_ymmm256], evex: [INVALID; 4] },
    Row { vex: [INVALID, VEX_Vpcmpeqq_xmm_xmm_xmmm128, VEX_Vpcmpeqq_ymm_ymm_ymmm256], evex: [INVALID; 4] },
];
/// `mask, a, b`; VEX only.
pub(crate) const GREATER: Op = [
    Row { vex: [INVALID, VEX_Vpcmpgtd_xmm_xmm_xmmm128, VEX_Vpcmpgtd_ymm_ymm_ymmm256], evex: [INVALID; 4] },
    Row { vex: [INVALID, VEX_Vpcmpgtq_xmm_xmm_xmmm128, VEX_Vpcmpgtq_ymm_ymm_ymmm256], evex: [INVALID; 4] },
];
/// `dst, no, yes`, and the mask: the last operand in VEX, a mask register in EVEX.
pub(crate) const BLEND: Op = [
    Row {
        vex: [VEX_Vblendvps_xmm_xmm_xmmm128_xmm, VEX_Vblendvps_xmm_xmm_xmmm128_xmm, VEX_Vblendvps_ymm_ymm_ymmm256_ymm],
        evex: [
            EVEX_Vblendmps_xmm_k1z_xmm_xmmm128b32,
            EVEX_Vblendmps_xmm_k1z_xmm_xmmm128b32,
            EVEX_Vblendmps_ymm_k1z_ymm_ymmm256b32,
            EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32,
        ],
    },
    Row {
        vex: [VEX_Vblendvpd_xmm_xmm_xmmm128_xmm, VEX_Vblendvpd_xmm_xmm_xmmm128_xmm, VEX_Vblendvpd_ymm_ymm_ymmm256_ymm],
        evex: [
            EVEX_Vblendmpd_xmm_k1z_xmm_xmmm128b64,
            EVEX_Vblendmpd_xmm_k1z_xmm_xmmm128b64,
            EVEX_Vblendmpd_ymm_k1z_ymm_ymmm256b64,
            EVEX_Vblendmpd_zmm_k1z_zmm_zmmm512b64,
        ],
    },
];
/// `dst, a, b, table` with `dst` an input; EVEX only.
pub(crate) const TERNARY: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpternlogd_xmm_k1z_xmm_xmmm128b32_imm8,
            EVEX_Vpternlogd_ymm_k1z_ymm_ymmm256b32_imm8,
            EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpternlogq_xmm_k1z_xmm_xmmm128b64_imm8,
            EVEX_Vpternlogq_ymm_k1z_ymm_ymmm256b64_imm8,
            EVEX_Vpternlogq_zmm_k1z_zmm_zmmm512b64_imm8,
        ],
    },
];
/// `dst, a, imm`: what rounding takes from `a`; packed, EVEX only.
pub(crate) const REDUCE: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vreduceps_xmm_k1z_xmmm128b32_imm8,
            EVEX_Vreduceps_ymm_k1z_ymmm256b32_imm8,
            EVEX_Vreduceps_zmm_k1z_zmmm512b32_imm8_sae,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vreducepd_xmm_k1z_xmmm128b64_imm8,
            EVEX_Vreducepd_ymm_k1z_ymmm256b64_imm8,
            EVEX_Vreducepd_zmm_k1z_zmmm512b64_imm8_sae,
        ],
    },
];
/// `dst, a, interval and sign`: the mantissa of `a`; packed, EVEX only.
pub(crate) const MANTISSA: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vgetmantps_xmm_k1z_xmmm128b32_imm8,
            EVEX_Vgetmantps_ymm_k1z_ymmm256b32_imm8,
            EVEX_Vgetmantps_zmm_k1z_zmmm512b32_imm8_sae,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vgetmantpd_xmm_k1z_xmmm128b64_imm8,
            EVEX_Vgetmantpd_ymm_k1z_ymmm256b64_imm8,
            EVEX_Vgetmantpd_zmm_k1z_zmmm512b64_imm8_sae,
        ],
    },
];
/// `dst, a, b` with `dst` an input: the lanes of `a` and `b` that `dst` numbers; packed, EVEX only.
pub(crate) const LOOK_UP: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpermi2ps_xmm_k1z_xmm_xmmm128b32,
            EVEX_Vpermi2ps_ymm_k1z_ymm_ymmm256b32,
            EVEX_Vpermi2ps_zmm_k1z_zmm_zmmm512b32,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Vpermi2pd_xmm_k1z_xmm_xmmm128b64,
            EVEX_Vpermi2pd_ymm_k1z_ymm_ymmm256b64,
            EVEX_Vpermi2pd_zmm_k1z_zmm_zmmm512b64,
        ],
    },
];
/// `dst, a, b`: `a · 2^floor(b)`; EVEX only.
pub(crate) const SCALE: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            EVEX_Vscalefss_xmm_k1z_xmm_xmmm32_er,
            EVEX_Vscalefps_xmm_k1z_xmm_xmmm128b32,
            EVEX_Vscalefps_ymm_k1z_ymm_ymmm256b32,
            EVEX_Vscalefps_zmm_k1z_zmm_zmmm512b32_er,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            EVEX_Vscalefsd_xmm_k1z_xmm_xmmm64_er,
            EVEX_Vscalefpd_xmm_k1z_xmm_xmmm128b64,
            EVEX_Vscalefpd_ymm_k1z_ymm_ymmm256b64,
            EVEX_Vscalefpd_zmm_k1z_zmm_zmmm512b64_er,
        ],
    },
];
/// `dst, a, b, count`: the lanes of `a` above those of `b`, shifted down; EVEX only.
pub(crate) const ALIGN: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Valignd_xmm_k1z_xmm_xmmm128b32_imm8,
            EVEX_Valignd_ymm_k1z_ymm_ymmm256b32_imm8,
            EVEX_Valignd_zmm_k1z_zmm_zmmm512b32_imm8,
        ],
    },
    Row {
        vex: [INVALID; 3],
        evex: [
            INVALID,
            EVEX_Valignq_xmm_k1z_xmm_xmmm128b64_imm8,
            EVEX_Valignq_ymm_k1z_ymm_ymmm256b64_imm8,
            EVEX_Valignq_zmm_k1z_zmm_zmmm512b64_imm8,
        ],
    },
];

/// `dst, memory`.
pub(crate) const LOAD: Op = [
    Row {
        vex: [VEX_Vmovss_xmm_m32, VEX_Vmovups_xmm_xmmm128, VEX_Vmovups_ymm_ymmm256],
        evex: [
            EVEX_Vmovss_xmm_k1z_m32,
            EVEX_Vmovups_xmm_k1z_xmmm128,
            EVEX_Vmovups_ymm_k1z_ymmm256,
            EVEX_Vmovups_zmm_k1z_zmmm512,
        ],
    },
    Row {
        vex: [VEX_Vmovsd_xmm_m64, VEX_Vmovupd_xmm_xmmm128, VEX_Vmovupd_ymm_ymmm256],
        evex: [
            EVEX_Vmovsd_xmm_k1z_m64,
            EVEX_Vmovupd_xmm_k1z_xmmm128,
            EVEX_Vmovupd_ymm_k1z_ymmm256,
            EVEX_Vmovupd_zmm_k1z_zmmm512,
        ],
    },
];
/// `memory, src`.
pub(crate) const STORE: Op = [
    Row {
        vex: [VEX_Vmovss_m32_xmm, VEX_Vmovups_xmmm128_xmm, VEX_Vmovups_ymmm256_ymm],
        evex: [
            EVEX_Vmovss_m32_k1_xmm,
            EVEX_Vmovups_xmmm128_k1z_xmm,
            EVEX_Vmovups_ymmm256_k1z_ymm,
            EVEX_Vmovups_zmmm512_k1z_zmm,
        ],
    },
    Row {
        vex: [VEX_Vmovsd_m64_xmm, VEX_Vmovupd_xmmm128_xmm, VEX_Vmovupd_ymmm256_ymm],
        evex: [
            EVEX_Vmovsd_m64_k1_xmm,
            EVEX_Vmovupd_xmmm128_k1z_xmm,
            EVEX_Vmovupd_ymmm256_k1z_ymm,
            EVEX_Vmovupd_zmmm512_k1z_zmm,
        ],
    },
];
/// `memory, src`, past the caches.
pub(crate) const STREAM: Op = [
    Row {
        vex: [INVALID, VEX_Vmovntps_m128_xmm, VEX_Vmovntps_m256_ymm],
        evex: [INVALID, EVEX_Vmovntps_m128_xmm, EVEX_Vmovntps_m256_ymm, EVEX_Vmovntps_m512_zmm],
    },
    Row {
        vex: [INVALID, VEX_Vmovntpd_m128_xmm, VEX_Vmovntpd_m256_ymm],
        evex: [INVALID, EVEX_Vmovntpd_m128_xmm, EVEX_Vmovntpd_m256_ymm, EVEX_Vmovntpd_m512_zmm],
    },
];
/// `dst, src`: the lowest lane, or memory, in all lanes.
pub(crate) const BROADCAST: Op = [
    Row {
        vex: [INVALID, VEX_Vpbroadcastd_xmm_xmmm32, VEX_Vpbroadcastd_ymm_xmmm32],
        evex: [
            INVALID,
            EVEX_Vbroadcastss_xmm_k1z_xmmm32,
            EVEX_Vbroadcastss_ymm_k1z_xmmm32,
            EVEX_Vbroadcastss_zmm_k1z_xmmm32,
        ],
    },
    Row {
        vex: [INVALID, VEX_Vpbroadcastq_xmm_xmmm64, VEX_Vpbroadcastq_ymm_xmmm64],
        evex: [
            INVALID,
            EVEX_Vpbroadcastq_xmm_k1z_xmmm64,
            EVEX_Vbroadcastsd_ymm_k1z_xmmm64,
            EVEX_Vbroadcastsd_zmm_k1z_xmmm64,
        ],
    },
];
/// `dst, general register`, all lanes; EVEX only.
pub(crate) const BROADCAST_INT: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [INVALID, EVEX_Vpbroadcastd_xmm_k1z_r32, EVEX_Vpbroadcastd_ymm_k1z_r32, EVEX_Vpbroadcastd_zmm_k1z_r32],
    },
    Row {
        vex: [INVALID; 3],
        evex: [INVALID, EVEX_Vpbroadcastq_xmm_k1z_r64, EVEX_Vpbroadcastq_ymm_k1z_r64, EVEX_Vpbroadcastq_zmm_k1z_r64],
    },
];
/// `dst, mask`; EVEX only.
pub(crate) const EXPAND: Op = [
    Row {
        vex: [INVALID; 3],
        evex: [EVEX_Vpmovm2d_xmm_kr, EVEX_Vpmovm2d_xmm_kr, EVEX_Vpmovm2d_ymm_kr, EVEX_Vpmovm2d_zmm_kr],
    },
    Row {
        vex: [INVALID; 3],
        evex: [EVEX_Vpmovm2q_xmm_kr, EVEX_Vpmovm2q_xmm_kr, EVEX_Vpmovm2q_ymm_kr, EVEX_Vpmovm2q_zmm_kr],
    },
];
/// Comparison of scalars into the flags.
pub(crate) const FLAGS: Op = [
    Row {
        vex: [VEX_Vucomiss_xmm_xmmm32, INVALID, INVALID],
        evex: [EVEX_Vucomiss_xmm_xmmm32_sae, INVALID, INVALID, INVALID],
    },
    Row {
        vex: [VEX_Vucomisd_xmm_xmmm64, INVALID, INVALID],
        evex: [EVEX_Vucomisd_xmm_xmmm64_sae, INVALID, INVALID, INVALID],
    },
];
