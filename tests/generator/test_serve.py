"""`vacc-gen serve` as its clients see it: openai's, curl, and the cards' benchmark."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import NamedTuple

import openai
import pytest

pytest.importorskip("fastapi")
from tests.processes import SLOW_VACC_GEN, VACC_GEN, start

ASK = [{"role": "user", "content": "Who made the heaven and the earth?"}]
PROMPT = "In the beginning God created"
NO_TEXT = [{"type": "text"}]


class Server(NamedTuple):
    process: subprocess.Popen[str]
    url: str
    model: str
    client: openai.OpenAI


@contextmanager
def serving(root, *options, program=VACC_GEN):
    command = (*program, "serve", str(root), "--port", "0", *options)
    process = start(*command, stderr=subprocess.PIPE)
    try:
        lines = process.stderr.readline() + process.stderr.readline()
        model, url = re.match(r"(\S+), no chat .*\n(\S+/v1), Ctrl-C stops it\n", lines).groups()
        yield Server(process, url, model, openai.OpenAI(base_url=url, api_key="None"))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def server(built_once):
    with serving(built_once.root, "--precision", "int8") as server:
        yield server


def curl(url, body=None):
    """Status and text of an answer."""
    command = ["curl", "-sN", "-w", "\n%{http_code}", *([] if body is None else ["-d", "@-"]), url]
    options = {"capture_output": True, "text": True, "check": True, "timeout": 30}
    done = subprocess.run(command, input=body, **options)
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def test_a_chat_whole_and_in_chunks_is_the_same(server):
    """Asked as the benchmark of the cards asks, and with what it reads in the chunks."""
    (model,) = server.client.models.list().data
    assert (model.id, model.tp) == (server.model, 1)
    assert "no chat template" in model.chat
    create = server.client.chat.completions.create
    more = {"ignore_eos": True, "prompt_template_name": "falcon"}
    options = {"model": server.model, "max_completion_tokens": 12, "temperature": 0.0}
    options["extra_body"] = more
    parts = [{"role": "user", "content": [{"type": "text", "text": ASK[0]["content"]}]}]
    whole = create(messages=parts, **options)
    choice = whole.choices[0]
    assert (choice.finish_reason, whole.usage.completion_tokens) == ("length", 12)
    assert len(choice.message.content.split()) > 5
    with_usage = {"stream": True, "stream_options": {"include_usage": True}}
    *texts, end, usage = create(messages=ASK, **options, **with_usage)
    assert "".join(chunk.choices[0].delta.content for chunk in texts) == choice.message.content
    assert {chunk.usage for chunk in (*texts, end)} == {None}
    assert end.choices[0].finish_reason == "length"
    assert (usage.choices, usage.usage) == ([], whole.usage)
    ((begin, finish),) = texts[0].token_timestamps
    assert texts[0].choices[0].token_timestamps == [[begin, finish]]
    assert 0 < finish - begin < 10e6, "microseconds"


def test_sampling_and_stop_as_asked(server):
    pytest.importorskip("onnxruntime_genai", reason="plain ONNX Runtime does not sample")

    def complete(**options):
        asked = {"model": server.model, "prompt": PROMPT, "max_tokens": 20, **options}
        return server.client.completions.create(**asked).choices[0]

    greedy = complete(logprobs=None)
    assert complete(temperature=1.5, seed=7) == complete(temperature=1.5, seed=7) != greedy
    assert complete(temperature=1.5, extra_body={"top_k": 1}) == greedy
    drawn = complete(temperature=1.5, seed=7, extra_body={"top_k": 10**12})
    assert drawn == complete(temperature=1.5, seed=7, extra_body={"top_k": 2048})
    stop = greedy.text[9:15]  # not at the bounds of tokens
    ended = complete(stop=[stop])
    assert (ended.text, ended.finish_reason) == (greedy.text[: greedy.text.index(stop)], "stop")


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("completions", {"model": "other"}, 404, "The model `other` does not exist"),
        ("completions", {"max_token": 3}, 400, "max_token: Extra inputs are not permitted"),
        ("completions", {"echo": True}, 400, "echo: "),
        ("completions", {"max_tokens": 900}, 400, "more than this model's total length, 128"),
        ("completions", {"prompt": ["a", "b"]}, 400, "prompt: Input should be a valid string"),
        ("completions", "{", 400, "Invalid JSON"),
        ("completions", None, 405, "/v1/completions: Method Not Allowed"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{}]}]}, 400, "type text"),
        ("chat/completions", {"messages": [{"role": "user", "content": NO_TEXT}]}, 400, "`text`"),
        pytest.param(
            "completions", f"{' ' * (1 << 20)}{{}}", 413, "may have 1048576 bytes", id="too long"
        ),
        ("embeddings", None, 404, "/v1/embeddings: Not Found"),
        ("completions", {"n": 1, "user": "me", "echo": False}, 200, '"text":"'),
        ("completions", {"stream": True, "max_tokens": 1}, 200, "\n\ndata: [DONE]"),
        ("../health", None, 200, '{"status":"ok"}'),
    ],
)
def test_refusals_have_openais_form(server, path, body, status, words):
    if isinstance(body, dict):
        prompt = {} if "messages" in body else {"prompt": PROMPT}
        body = json.dumps({"model": server.model, **prompt, **body})
    found, text = curl(f"{server.url}/{path}", body)
    assert (found, words in text) == (status, True), text
    assert status == 200 or json.loads(text)["error"]["type"] == "invalid_request_error"


def test_many_clients_at_once_get_their_own_answers(server):
    client = openai.AsyncOpenAI(base_url=server.url, api_key="None", max_retries=0)

    async def complete(name):
        asked = {"prompt": f"And {name} said", "max_tokens": 8}
        made = await client.completions.create(model=server.model, **asked)
        return made.choices[0].text

    async def together(names):
        return await asyncio.gather(*map(complete, names))

    names = ["Moses", "David", "the LORD", "Abram"]
    answers = asyncio.run(together(names * 3))
    assert answers == answers[:4] * 3
    assert len({*answers}) == 4


def test_a_full_line_refuses_and_clients_who_leave_free_their_places(built_once):
    options = ("--max-waiting", "2", "--api-key", "secret")
    with serving(built_once.root, *options, program=SLOW_VACC_GEN) as server:
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            server.client.models.list()
        client = openai.AsyncOpenAI(base_url=server.url, api_key="secret", max_retries=0)

        def complete(**options):
            return client.completions.create(model=server.model, prompt="And", **options)

        async def crowd():
            stream = await complete(stream=True, max_tokens=100)  # takes 3 seconds
            waiting = [asyncio.create_task(complete()) for _ in range(2)]
            await asyncio.sleep(0.3)
            with pytest.raises(openai.RateLimitError) as refused:
                await complete()
            assert refused.value.response.headers["Retry-After"] == "1"
            for task in waiting:
                task.cancel()
            await asyncio.sleep(0.3)
            last = asyncio.create_task(complete(max_tokens=2))
            await asyncio.sleep(0.3)
            assert not last.done(), "it waits, where there was no place before"
            await stream.close()
            began = time.monotonic()
            assert (await last).choices
            assert time.monotonic() - began < 1, "the stream had some 2 seconds to go"

        asyncio.run(crowd())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_in_one_line_and_clients_hear_why(built_once, number):
    with serving(built_once.root, program=SLOW_VACC_GEN) as server:
        with socket.create_connection(tuple(server.url[7:-3].split(":"))) as half:
            half.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        asked = {"model": server.model, "prompt": PROMPT, "max_tokens": 100, "stream": True}
        stream = iter(server.client.completions.create(**asked))
        next(stream)
        server.process.send_signal(number)
        with pytest.raises(openai.APIError, match="the server is stopping"):
            list(stream)
        assert server.process.stderr.read() == "stopped\n"
        assert server.process.wait(10) == 0


def test_a_port_in_use_is_one_error(server, built_once, run):
    port = server.url.split(":")[2].removesuffix("/v1")
    code, _, errors = run("serve", built_once.root, "--port", port)
    assert code == 2
    assert errors.splitlines() == [
        f"error: cannot listen on 127.0.0.1, port {port}: Address already in use",
        "hint: --port 0 takes any that is free",
    ]
