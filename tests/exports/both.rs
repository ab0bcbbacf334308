//! One file before both verifiers: `keyledger audit verify` and `tools/verify.py` have to say the same.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

const KEYLEDGER: &str = env!("CARGO_BIN_EXE_keyledger");
const SECOND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/verify.py");

/// What a verifier said.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub code: i32,
    pub position: Option<u64>,
    pub told: Value,
}

impl Said {
    fn new(code: i32, text: &str) -> Said {
        let told: Value = serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"));
        Said {
            code,
            position: told["position"].as_u64(),
            told,
        }
    }
}

fn by_command(command: &mut Command, file: &Path, arguments: &[String]) -> Said {
    let output = command.arg(file).args(arguments).arg("--json").output().unwrap();
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    Said::new(output.status.code().unwrap(), &String::from_utf8_lossy(&output.stdout))
}

fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// The second verifier, read by Python once for all files of a test.
struct Second {
    _process: Child,
    asked: ChildStdin,
    said: BufReader<ChildStdout>,
}

static RUNNING: Mutex<Option<Second>> = Mutex::new(None);

impl Second {
    fn start() -> Second {
        let program = r#"
import contextlib, importlib.util, io, json, sys, traceback
spec = importlib.util.spec_from_file_location("verify", sys.argv[1])
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            code = verify.main(json.loads(line))
        except BaseException:
            code = -1
            traceback.print_exc(file=said)
    print(json.dumps([code, said.getvalue()]), flush=True)
"#;
        let mut process = python()
            .args(["-c", program, SECOND])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Second {
            asked: process.stdin.take().unwrap(),
            said: BufReader::new(process.stdout.take().unwrap()),
            _process: process,
        }
    }

    fn judge(&mut self, file: &Path, arguments: &[String]) -> Said {
        let file = file.to_str().unwrap().to_owned();
        let arguments = [&[file], arguments, &["--json".to_owned()]].concat();
        let mut line = serde_json::to_string(&arguments).unwrap();
        line.push('\n');
        self.asked.write_all(line.as_bytes()).unwrap();
        let mut said = String::new();
        self.said.read_line(&mut said).unwrap();
        let (code, text): (i32, String) = serde_json::from_str(&said).expect("the second verifier answers");
        Said::new(code, &text)
    }
}

/// Shows a file to both.
pub fn judge(file: &Path, arguments: &[String]) -> Said {
    let ours = by_command(Command::new(KEYLEDGER).args(["audit", "verify"]), file, arguments);
    let other = RUNNING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(Second::start)
        .judge(file, arguments);
    assert_eq!(
        (ours.code, ours.position),
        (other.code, other.position),
        "{}\n{}",
        ours.told,
        other.told
    );
    if ours.code == 0 {
        assert_eq!(ours.told, other.told, "what a good file comes to");
    }
    // Both at once or one after the other: the first bad position is the same.
    let one_thread = [arguments, &["--one-thread".to_owned()]].concat();
    let alone = by_command(Command::new(KEYLEDGER).args(["audit", "verify"]), file, &one_thread);
    assert_eq!(alone, ours);
    ours
}

/// The second verifier as an auditor starts it.
pub fn judge_by_script(file: &Path, arguments: &[String]) -> Said {
    by_command(python().arg(SECOND), file, arguments)
}

/// The same of lines that are in no file yet.
pub fn judge_lines(lines: &[Vec<u8>], arguments: &[String]) -> Said {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.ndjson");
    let mut bytes = lines.join(&b'\n');
    bytes.push(b'\n');
    std::fs::write(&file, bytes).unwrap();
    judge(&file, arguments)
}

/// The signatures of the second verifier, by the published vectors.
#[test]
fn the_second_verifier_checks_signatures_as_rfc_8032_has_them() {
    let program = r#"
import importlib.util, sys
spec = importlib.util.spec_from_file_location("verify", sys.argv[1])
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
vectors = [
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]
for public, message, signature in vectors:
    public, message, signature = map(bytes.fromhex, (public, message, signature))
    assert verify.ed25519_verify(public, message, signature)
    assert not verify.ed25519_verify(public, message + b"x", signature)
    for place in (0, 31, 32, 63):
        changed = bytearray(signature)
        changed[place] ^= 1
        assert not verify.ed25519_verify(public, message, bytes(changed))
    # The same scalar, a whole order further, is another text of the same signature.
    scalar = int.from_bytes(signature[32:], "little") + verify.ORDER
    assert not verify.ed25519_verify(public, message, signature[:32] + scalar.to_bytes(32, "little"))
"#;
    let status = python().args(["-c", program, SECOND]).status().unwrap();
    assert!(status.success());
}
