//! To be written.
/// x
pub fn print(l: &super::Layer) -> String {
    format!("{l:?}")
}
