"""The download worker's entry: `python -P -m pypimirror.download.worker`.

gevent must patch the standard library before anything else imports it, so this module imports
nothing else first. The work is in `pypimirror.download.loop`.
"""

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()

    from pypimirror.download.loop import main

    main()
