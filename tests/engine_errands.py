"""Handlers that do what their arguments say, in a world that counts: in this process or in a child."""

import subprocess
import sys
from functools import partial
from typing import Any

from beamtime_ioc.action import Effect, Run, action
from beamtime_ioc.errors import OutcomeUnknownError
from beamtime_ioc.model import Experiment
from engine_world import World


def effect_on(world: World, name: str) -> Effect:
    return Effect(
        name,
        look=partial(world.find, name),
        make=partial(world.make, name),
        verify=partial(world.check, name),
    )


def doubt_on(world: World, name: str) -> Effect:
    """It happens, and its reply is lost; nobody can look it up."""

    def make() -> None:
        world.make(name)
        raise OutcomeUnknownError(f"{name} may have been sent", claim=f"claim of {name}")

    return Effect(name, look=lambda: None, make=make, verify=partial(world.check, name))


def shell(run: Run, world: World, name: str) -> None:
    """A long program: it goes down with the run."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    world.note(f"began {name} {program.pid}")
    try:
        while program.poll() is None:
            run.sleep(0.1)
    finally:
        program.kill()
        program.wait()


def do(run: Run, word: str, names: list[Any]) -> object:
    """One line of an errand's script."""
    world, name = run.service(World), str(names[0])
    effects = [effect_on(world, str(each)) for each in names]
    if word == "effect":
        return [run.effects([effect]) for effect in effects]
    if word == "effects":
        return run.effects(effects, at_once=3)
    if word == "doubt":
        return run.effects([doubt_on(world, name)])
    if word == "once":
        return run.once(name, lambda: world.make(name))
    if word == "step":
        return run.step(name, lambda: world.read(name))
    if word == "shell":
        return shell(run, world, name)
    if word == "sleep":
        world.note("sleeps")
        return run.sleep(float(name))
    if word == "note":
        return None
    assert word == "gate"
    return world.gate(name)


@action("errand", resource="r", needs_experiment=False)
def errand(run: Run, experiment: Experiment | None, *, script: list[list[Any]]) -> object:
    """Do one line after another."""
    return [values for word, *names in script if isinstance(values := do(run, word, names), int | str)]


@action("walk", resource="r", needs_experiment=False)
def walk(run: Run, experiment: Experiment | None) -> None:
    """Steps that stand in the source, so that a test can change them there."""
    do(run, "effect", ["first"])
    do(run, "effect", ["second"])
    do(run, "effect", ["third"])


ACTIONS = [errand, walk]
