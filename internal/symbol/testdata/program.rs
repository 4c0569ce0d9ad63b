// Generic code, inlined many levels deep.
use std::collections::HashMap;

fn main() {
    let mut m: HashMap<String, Vec<u64>> = HashMap::new();
    for i in 0..10u64 {
        m.entry(format!("{}", i % 3)).or_default().push(i);
    }
    println!("{:?}", m);
}
