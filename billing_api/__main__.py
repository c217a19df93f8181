"""``python -m billing_api``: the billing API as a process, settings from the environment."""

import argparse
import sys

from billing_api import logs
from billing_api.errors import BillingError, DatabaseUnavailable
<<<<<<< HEAD
from billing_api.kube.configuration import configuration
from billing_api.licensing import keys
from billing_api.settings import Settings, describe, from_environment

log = logging.getLogger("billing_api")
=======
from billing_api.process import serve
from billing_api.settings import describe, from_environment
>>>>>>> h7

#: sysexits.h: what has to change is the configuration, or only time has to pass.
_EX_CONFIG, _EX_UNAVAILABLE = 78, 69


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit 78 with the reason when the settings do not allow it, 69 without database."""
    _parse_arguments()
    try:
        settings = from_environment()
        logs.configure(level=settings.log_level, log_format=settings.log_format)
        serve(settings)
    except BillingError as error:
        sys.stderr.write(f"billing_api cannot start:\n{error}\n")
        sys.exit(_EX_UNAVAILABLE if isinstance(error, DatabaseUnavailable) else _EX_CONFIG)
    except KeyboardInterrupt:
        sys.exit(0)


def _parse_arguments() -> None:
    argparse.ArgumentParser(
        prog="python -m billing_api",
        description="Serve the billing API. Everything is set by environment variables:",
        epilog="\n".join(f"{name}={default}\n    {text}" for name, default, text in describe()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


<<<<<<< HEAD
def _serve(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kubernetes = asyncio.run(configuration(settings))
    signing_key = keys.load_or_generate(configured=settings.license_private_key_path, data_dir=settings.data_dir)
    with _database(settings) as dsn:
        migrate(dsn)
        config = uvicorn.Config(
            create_app(settings, dsn=dsn, signing_key=signing_key, kubernetes=kubernetes),
            host=settings.host,
            port=settings.port,
            forwarded_allow_ips=list(settings.trusted_proxies),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=10,
        )
        server = uvicorn.Server(config)
        server.run()
        if not server.started:
            sys.exit(1)


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    if settings.database_url:
        yield settings.database_url
        return
    log.info("DATABASE_URL is empty: starting the built-in PostgreSQL in %s", settings.data_dir)
    with embedded.running(settings.data_dir) as dsn:
        yield dsn


=======
>>>>>>> h7
if __name__ == "__main__":
    main()
