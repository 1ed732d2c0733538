"""Connects events with handlers: outputs by name, errors as one sentence, and sessions kept while they are used."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from threading import Lock
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import gradio as gr
from gradio.context import LocalContext

from webapp.errors import error_for_visitor
from webapp.session import Session, is_open, leave_session, use_session

Components = Mapping[str, Any]  # a component, or a mapping of components, by name

_ENDED = "ended"  # name of an output of every handler that uses a session


class Wiring:
    """The events of a page.

    A handler declares with its return type, one of ``webapp.updates`` or an iterator of it, which components it may
    change: these are the outputs of its event. It returns values for any of them, by name.

    Args:
        page: The page.
        session: Holds the session; a handler whose first parameter is called ``session`` receives it.
        components: The components that handlers change, by their names in ``webapp.updates``.
        ended: Is given the folder of the session, when a handler finds that its session has ended: another page has
            closed the clip, or nobody used it for too long.
    """

    def __init__(
        self,
        page: gr.Blocks,
        session: gr.State,
        components: Components,
        ended: Any,
    ) -> None:
        self._session = session
        self._components: Components = {"session": session, **components, _ENDED: ended}
        self._open: dict[str, Session] = {}  # by Gradio's name of the page
        self._replacements: dict[str, Lock] = {}  # by Gradio's name of the page; held while its session is replaced
        page.unload(self._leave)

    def connect(self, event: Callable[..., Any], handler: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        """Runs a handler on an event, with the values of the inputs.

        Args:
            event: The event's method, as ``button.click``.
            handler: Function or generator function.
            inputs: Components, after the session.
            options: Further arguments of the event's method.
        """
        names = _declared_outputs(handler)
        with_session = next(iter(inspect.signature(handler).parameters), "") == "session"
        if with_session and "session" not in names:
            names.append(_ENDED)
        flat = [component for name in names for component in _flatten(self._components[name]).values()]
        function = self._guarded(handler, names, with_session=with_session)
        options.setdefault("api_visibility", "private")
        return event(function, [*([self._session] if with_session else []), *inputs], flat, **options)

    def _guarded(self, handler: Callable[..., Any], names: Sequence[str], *, with_session: bool) -> Callable[..., Any]:
        """The handler as Gradio calls it: with values in the order of the outputs."""
        replaces_session = "session" in names

        def results(*arguments: Any) -> Generator[Any, None, None]:
            page, session = _page(), arguments[0] if with_session else {}
            replacement = self._replacements.setdefault(page, Lock())
            with replacement if replaces_session else nullcontext():
                if replaces_session and with_session and page in self._open:  # another event may have replaced it
                    session = self._open[page]
                    arguments = (session, *arguments[1:])
                yield from handled(page, session, arguments)

        def handled(page: str, session: Session, arguments: Sequence[Any]) -> Iterator[Any]:
            try:
                if session and not replaces_session:
                    use_session(session)
                    self._open[page] = session
                with closing(_all_updates(handler, arguments)) as answers:
                    for update in answers:
                        if "session" in update and page:
                            self._open[page] = update["session"]
                        yield self.values(names, update)
            except Exception as error:
                if not session or replaces_session or is_open(session):
                    raise error_for_visitor(error) from error
                yield self.values(names, {_ENDED: session["folder"]})

        if inspect.isgeneratorfunction(handler):

            @functools.wraps(handler)
            def generator(*arguments: Any) -> Iterator[Any]:
                values = None
                for values in results(*arguments):
                    yield _for_gradio(values)
                if values is None:  # Gradio would empty the outputs
                    yield _for_gradio(self.values(names, {}))

            return generator

        @functools.wraps(handler)
        def function(*arguments: Any) -> Any:
            with closing(results(*arguments)) as values:
                return _for_gradio(next(values, self.values(names, {})))

        return function

    def values(self, names: Sequence[str], updates: Mapping[str, Any]) -> list[Any]:
        """The values of all outputs, in their order.

        Raises:
            KeyError: An update is for a component that is no output.
        """
        left = dict(updates)
        values = []
        for name in names:
            update = left.pop(name, {})
            component = self._components[name]
            if not isinstance(component, Mapping):
                values.append(gr.skip() if name not in updates else update)
                continue
            group = dict(update)
            values += [group.pop(key, gr.skip()) for key in component]
            left.update({f"{name}.{key}": value for key, value in group.items()})
        if left:
            raise KeyError(f"no outputs of this event: {', '.join(left)}")
        return values

    def _leave(self, request: gr.Request) -> None:
        page = request.session_hash or ""
        self._replacements.pop(page, None)
        left = self._open.pop(page, {})
        if all(session.get("folder") != left.get("folder") for session in self._open.values()):  # no other page has it
            leave_session(left)


def _declared_outputs(handler: Callable[..., Any]) -> list[str]:
    """The names of the components that the return type of a handler lists."""
    declared = get_type_hints(handler)["return"]
    if get_origin(declared) is not None:
        (declared,) = get_args(declared)
    if declared is type(None):
        return []
    assert is_typeddict(declared), f"{handler.__name__} does not declare its outputs"
    return list(get_type_hints(declared))


def _flatten(component: Any) -> Mapping[str, Any]:
    return component if isinstance(component, Mapping) else {"": component}


def _all_updates(handler: Callable[..., Any], arguments: Sequence[Any]) -> Generator[Mapping[str, Any], None, None]:
    result = handler(*arguments)
    if inspect.isgenerator(result):
        with closing(result):
            yield from result
    else:
        yield result or {}


def _for_gradio(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values or None


def _page() -> str:
    """Gradio's name of the page whose event is handled."""
    request = LocalContext.request.get(None)
    return (request and request.session_hash) or ""
