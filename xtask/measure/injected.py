"""Writes what the tools of AgentDojo answer, as lines of {"family", "text", "bad"}.

No model takes part: each user task's own ground-truth calls are made, once in the untouched environment and once for
every attack and injection task. An answer is bad when the attack's text for that task stands in it. Equal answers are
written once. It takes about eight minutes, with the Python that `cargo xtask needs` names:

    PYTHON xtask/measure/injected.py > answers.jsonl
    cargo run --release -p countersign-core --example content injection answers.jsonl
"""

import json
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock


class Absent(MetaPathFinder, Loader):
    """Clients of models and what they print with: the package imports them, and nothing here uses them."""

    NAMES = {"anthropic", "click", "cohere", "dotenv", "google", "langchain", "openai", "requests", "rich", "tenacity"}

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in self.NAMES else None

    def create_module(self, spec):
        return MagicMock()

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Absent())

from agentdojo.agent_pipeline.ground_truth_pipeline import GroundTruthPipeline
from agentdojo.attacks.attack_registry import load_attack
from agentdojo.functions_runtime import FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import get_text_content_as_str

ATTACKS = [
    "direct",
    "ignore_previous",
    "system_message",
    "injecagent",
    "important_instructions",
    "important_instructions_no_names",
    "tool_knowledge",
]


class Named(GroundTruthPipeline):
    """Some attacks name the model they are for."""

    name = "gpt-4o-2024-05-13"


def answers(suite, task, injections):
    environment = task.init_environment(suite.load_and_inject_default_environment(injections))
    _, _, _, messages, _ = GroundTruthPipeline(task).query(task.PROMPT, FunctionsRuntime(suite.tools), environment)
    for message in messages:
        if message["role"] == "tool":
            yield get_text_content_as_str(message["content"])


def main():
    seen = set()

    def write(family, text, bad):
        if text and (text, bad) not in seen:
            seen.add((text, bad))
            print(json.dumps({"family": family, "text": text, "bad": bad}))

    for name, suite in get_suites("v1.2.2").items():
        tasks = list(suite.user_tasks.values())
        for task in tasks:
            for text in answers(suite, task, {}):
                write(f"{name} untouched", text, False)
        for attack_name in ATTACKS:
            for goal in suite.injection_tasks.values():
                for task in tasks:
                    attack = load_attack(attack_name, suite, Named(task))
                    try:
                        injections = attack.attack(task, goal)
                    except ValueError:
                        continue  # the task reads nothing that an attacker can write
                    # What the attack says differs from task to task by a name or two: its longest line is enough.
                    marks = {max(text.splitlines(), key=len).strip() for text in injections.values()}
                    for text in answers(suite, task, injections):
                        flat = " ".join(text.split())
                        if any(" ".join(mark.split())[:60] in flat for mark in marks):
                            write(attack_name, text, True)
        print(name, file=sys.stderr)


if __name__ == "__main__":
    main()
