"""The download worker's entry: `python -P -m pypimirror.download.worker`.

gevent must patch the standard library before anything else imports it, so this module imports
nothing else first, but what imports nothing itself. The work is in
`pypimirror.download.engine.loop`.
"""

if __name__ == "__main__":
    from pypimirror.system import abrupt

    abrupt.install(signals=False)

    import gevent.events

    # Telling plug-ins of the patching reads the entry points of all that is installed, for 0.2 s.
    gevent.events.notify_and_call_entry_points = gevent.events.notify  # type: ignore[attr-defined]

    from gevent import monkey

    monkey.patch_all()

    from pypimirror.download.engine.loop import main

    main()
