"""The download worker's entry: `python -P -m pypimirror.download.worker`.

gevent must patch the standard library before anything else imports it. So this module imports
gevent first, except for modules that import nothing themselves. `pypimirror.download.engine.loop`
does the work.
"""

if __name__ == "__main__":
    from pypimirror.system import abrupt, memory

    abrupt.install(signals=False)
    memory.calm_collector()

    import gevent.events

    # Otherwise gevent reads all entry points to notify plug-ins of the patching, which takes 0.2 s.
    gevent.events.notify_and_call_entry_points = gevent.events.notify  # type: ignore[attr-defined]

    # Otherwise it formats reports of uncaught errors by pprint, which imports `inspect`.
    gevent.config.format_context = "builtins.repr"

    from gevent import monkey

    # The loop patches `subprocess` if an upstream has a keyring, because it takes 3 ms.
    monkey.patch_all(subprocess=False)
    memory.import_msgspec()

    from pypimirror.download.engine.loop import main

    main()
