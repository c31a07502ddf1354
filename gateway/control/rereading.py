"""Settings read anew while the server runs: what holds from then on, and in the log what changed and what cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.config import Config, ConfigError
from gateway.control.changes import differences, taken_over
from gateway.typed_yaml import MisfitError

_log = logging.getLogger(__name__)


def reread(config: Config, reload: Callable[[], Config] | None) -> Config:
    """The settings as they are now, where `reload` reads them; where they are wrong, as they were."""
    try:
        new = config if reload is None else reload()
    except ConfigError as error:
        for problem in error.problems:
            _log.error("reload: %s; the settings stay as they are", problem)
        new = config
    applied, restart = differences(config, new)
    for change in restart:
        _log.warning("reload: %s needs a restart", change)
    for change in applied:
        _log.info("reload: %s", change)
    try:
        return taken_over(config, new)
    except MisfitError as error:
        _log.error("reload: %s: %s; the settings stay as they are until a restart", error.path, error.message)
        return config
