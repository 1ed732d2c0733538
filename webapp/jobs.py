"""Runs and exports: a session has one at a time, and its buttons show whether it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import gradio as gr

from webapp.background import watch_job
from webapp.html import status_html
from webapp.job_queue import Kind, refusal_of
from webapp.languages import message
from webapp.results_view import result_updates
from webapp.session import Session, failure_of, has_job, job_of, release_job, request_job, stop_job, use_session
from webapp.updates import JobUpdates, RunUpdates


def job_updates(session: Session) -> JobUpdates:
    """The buttons that start and stop a job."""
    busy = has_job(session)
    free = gr.update(interactive=bool(session) and not busy)
    return {"start": free, "prepare": free, "stop": gr.update(interactive=busy)}


def claim_job(session: Session, kind: Kind) -> JobUpdates:
    """Reserves the session's next run or export. A second click changes nothing."""
    if not session:
        return {"status": status_html(message("clip.choose_first"), error=True)}
    if not has_job(session) and (refusal := refusal_of(kind)):
        return {**job_updates(session), "status": status_html(refusal, error=True)}
    if not request_job(session, kind):
        return job_updates(session)
    session.pop("opened", None)
    session["follows_job"] = True  # what is painted from here on
    return {**job_updates(session), "status": status_html(message("run.starting"))}


def watch(session: Session) -> Iterator[RunUpdates]:
    """Shows the run or export of a session, after its page was reloaded or on another page, until it is over."""
    if session and "opened" not in session:  # it had one when the page was opened, and that may be over
        job = job_of(session)
        yield from cast(Iterator[RunUpdates], watch_job(session, job))
        use_session(session)  # another page may have ended it
        if job is None:
            yield cast(RunUpdates, result_updates(session))
        yield {**settle_job(session), **_failure(session)}


def _failure(session: Session) -> JobUpdates:
    failure = failure_of(session)
    return {"status": status_html(failure, error=True)} if failure else {}


def cancel_job(session: Session) -> JobUpdates:
    """Stops a job; one that still waits does not begin."""
    job = job_of(session)
    if job is None:
        return job_updates(session)
    stop_job(session)
    if job.state == "running":
        # Not as the answer to the click, which can reach the page after the job's last updates.
        job.publish({"status": status_html(message("run.stopping"))})
        return {}
    return {**job_updates(session), "status": status_html(message("run.ended"))}


def settle_job(session: Session, closed_status: str = "") -> RunUpdates:
    """Shows the state of the session after a job, once more if its clip was replaced or removed meanwhile.

    The last updates of a run may reach the page after those of the new clip.

    Args:
        session: The visitor's session.
        closed_status: See ``ClipUpdates``; that status may not have reached the page yet.
    """
    hide_preview: RunUpdates = {"preview": gr.update(visible=False)}
    if session and "opened" not in session:
        return {**hide_preview, **job_updates(session)}
    settled: RunUpdates = {**hide_preview, **job_updates(session), **result_updates(session)}
    settled["status"] = session["opened"] if session else closed_status or status_html(message("run.no_clip"))
    return settled


def refuse_job(session: Session, kind: Kind) -> JobUpdates:
    """Gives a reserved place back if the job could not start: the queue is full, or its handler failed before."""
    if not release_job(session, kind):
        return job_updates(session)
    return {**job_updates(session), "status": status_html(message("run.ended"))}
