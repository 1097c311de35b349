//! Makes a new migration file rebuild the crate: the macro that embeds them only watches files it already knows.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
