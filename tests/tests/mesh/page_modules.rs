//! The page's modules that need no browser, in Node.js.

use std::path::Path;
use std::process::Command;

use tributary_tests::Tool;

use crate::temp_dir;

const NODE: Tool = Tool {
    name: "node",
    hint: "apt-get install nodejs",
};

#[test]
fn the_pages_modules_decide_as_they_should() {
    let Some(node) = NODE.find("the_pages_modules_decide_as_they_should") else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = temp_dir();
    // a browser takes them for modules because the page says so, Node.js because this file does
    std::fs::write(dir.path().join("package.json"), r#"{"type":"module"}"#).expect("writes");
    for file in std::fs::read_dir(root.join("../aggregator/src/page/static")).expect("the modules") {
        let file = file.expect("a file").path();
        let name = file.file_name().expect("a name");
        std::fs::copy(&file, dir.path().join(name)).expect("copies");
    }
    let tests = ["views", "record"].map(|name| root.join(format!("page/{name}.test.mjs")));
    let output = Command::new(node)
        .arg("--test")
        .args(tests)
        .env("PAGE", dir.path())
        .env("TZ", "UTC")
        .output()
        .expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("pass 34"), "{said}");
}
