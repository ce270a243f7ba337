"""Muster's tables are in Muster's database and are never changed; all others in Django's own."""


class Router:
    def db_for_read(self, model, **hints):
        return "muster" if model._meta.app_label == "muster" else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return db == "default" and app_label != "muster"
