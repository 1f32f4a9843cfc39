//! Generates the LALRPOP parser from `grammar/ssm.lalrpop`.

fn main() {
    println!("cargo::rerun-if-changed=grammar");
    lalrpop::Configuration::new()
        .set_in_dir("grammar")
        .set_out_dir(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"))
        .process()
        .expect("the grammar compiles");
}
