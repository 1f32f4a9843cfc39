//! Scalar routines that compiled kernels call where their inline formulas do not reach.
//!
//! In: one lane. Out: the value of C's library function. They never unwind.

/// Declares the routines and the table of their addresses.
macro_rules! routines {
    ($($name:ident($($argument:ident),+) -> $ty:ident = $function:path;)*) => {
        $(
            #[doc = concat!("`", stringify!($function), "`.")]
            pub extern "C" fn $name($($argument: $ty),+) -> $ty {
                $function($($argument),+)
            }
        )*

        /// The symbols of all routines, with their addresses.
        pub fn routines() -> Vec<(&'static str, *const u8)> {
            vec![$((stringify!($name), $name as *const u8)),*]
        }
    };
}

routines! {
    ssmc_sin_f32(x) -> f32 = libm::sinf;
    ssmc_sin_f64(x) -> f64 = libm::sin;
    ssmc_cos_f32(x) -> f32 = libm::cosf;
    ssmc_cos_f64(x) -> f64 = libm::cos;
    ssmc_fmod_f32(x, y) -> f32 = libm::fmodf;
    ssmc_fmod_f64(x, y) -> f64 = libm::fmod;
}
