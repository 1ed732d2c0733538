"""Runs and exports in threads of their own: they go on when their page is reloaded, and every page can watch them."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from threading import Thread
from typing import Any

from gradio.context import LocalContext

from webapp.errors import error_for_visitor
from webapp.html import duration_text, status_html
from webapp.job_queue import LINES, Job, Kind
from webapp.languages import count_message, message
from webapp.session import Session, begin_job, end_job, is_open, job_of, start_requested_job

_WATCH_SECONDS = 1.0  # after which Gradio is given the chance to end the watch of a closed page


def start_job(
    session: Session, kind: Kind, seconds: float, updates: Callable[[], Iterator[Mapping[str, Any]]]
) -> Job | None:
    """Starts the job that was requested for a session; nothing happens if there is none of this kind.

    Args:
        session: The session.
        kind: What was requested.
        seconds: Its expected duration [s].
        updates: Generator function that does the work and yields updates of the page.

    Returns:
        The session's job to watch: the started one, or what another page requested; ``None`` if there is none.
    """
    job = start_requested_job(session, kind)
    if job is None:
        return job_of(session)
    job.expect(seconds)
    context = contextvars.copy_context()  # with the visitor's request, whose quota ZeroGPU uses
    # ZeroGPU would end a wait for a GPU with the event that began it, that is when the page is reloaded.
    context.run(LocalContext.event_id.set, None)
    Thread(target=context.run, args=(_work, session, job, updates), daemon=True).start()
    return job


def _work(session: Session, job: Job, updates: Callable[[], Iterator[Mapping[str, Any]]]) -> None:
    last: Mapping[str, Any] = {}
    with LINES[job.kind].turn(job, lambda: job_of(session) is job):
        if job_of(session) is job and begin_job(session):
            failure = ""
            try:
                with closing(updates()) as work:  # type: ignore[type-var]
                    for update in work:
                        if not is_open(session):  # another clip was opened
                            break
                        job.publish(update)
            except Exception as error:
                if is_open(session):  # else the files of the job are gone
                    failure = error_for_visitor(error).message
                    last = {"status": status_html(failure, error=True)}
            finally:
                end_job(session, failure)
        else:
            last = {"status": status_html(message("run.ended"))}
    job.publish(last, over=True)


def watch_job(session: Session, job: Job | None) -> Iterator[dict[str, Any]]:
    """Yields the updates of a session's job until it is over; while it waits, how many are before it.

    A job may be over before anyone watches it: its last updates are kept.
    """
    if job is None or not job.is_started:
        return
    seen, shown = 0, ""
    while True:
        seen, updates, over = job.news(seen, _WATCH_SECONDS)
        if not is_open(session):
            return
        ahead, seconds = LINES[job.kind].ahead_of(job)
        if ahead and not over:
            waiting = _waiting_text(ahead, seconds)
            if waiting != shown:
                updates["status"] = status_html(waiting)
            shown = waiting
        if updates or not over:
            yield updates
        if over:
            return


def _waiting_text(ahead: int, seconds: float) -> str:
    about = duration_text(5 * math.ceil(max(1, seconds) / 5))  # the estimate is not exact to a second
    return count_message("run.waiting", ahead, time=about)
