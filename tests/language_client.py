"""An editor, as far as a language server sees one: JSON-RPC over the pipes of the real process."""

import json
import subprocess

from tests.processes import VACC_GEN


class Editor:
    """One file is open at a time; positions are those of the protocol."""

    def __init__(self, folder, encoding="utf-16", command=(*VACC_GEN, "lsp")):
        self.folder, self.asked = folder, 0
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(command, cwd=folder, **pipes)
        can = {"general": {"positionEncodings": [encoding]}}
        self.ask("initialize", processId=None, rootUri=folder.as_uri(), capabilities=can)
        self.tell("initialized")

    def open(self, name, text):
        """Open a file, which need not exist, and return what is found in it."""
        self.document, self.text = {"uri": (self.folder / name).as_uri(), "version": 1}, text
        opened = {**self.document, "languageId": "yaml", "text": text}
        self.tell("textDocument/didOpen", textDocument=opened)
        return self.published()

    def change(self, text):
        self.document["version"] += 1
        changes = [{"text": text}]
        self.tell("textDocument/didChange", textDocument=self.document, contentChanges=changes)
        return self.published()

    def published(self):
        sent = self._read(lambda one: one.get("method") == "textDocument/publishDiagnostics")
        return sent["params"]["diagnostics"]

    def at(self, feature, line, character, **more):
        place = {"position": {"line": line, "character": character}, **more}
        return self.ask(f"textDocument/{feature}", textDocument=self.document, **place)

    def ask(self, method, **params):
        self.asked += 1
        self._write({"id": self.asked, "method": method, "params": params or None})
        return self._read(lambda one: "method" not in one and one["id"] == self.asked)["result"]

    def tell(self, method, **params):
        self._write({"method": method, "params": params or None})

    def close(self):
        """End the server; return its exit code and what it said beside the protocol."""
        self.ask("shutdown")
        self.tell("exit")
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out + err

    def _write(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def _read(self, is_wanted):
        """Return the first message that is wanted; an empty line ends its headers."""
        while line := self.process.stdout.readline():
            if line.startswith(b"Content-Length: "):
                length = int(line.split()[1])
            elif line == b"\r\n":
                message = json.loads(self.process.stdout.read(length))
                if is_wanted(message):
                    return message
        raise AssertionError(self.process.stderr.read().decode())
