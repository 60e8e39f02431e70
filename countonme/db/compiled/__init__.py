from countonme.db.compiled.query import Prepared, adapted, among, applied, executed, insert, stored_values, update

__all__ = ["Prepared", "adapted", "among", "applied", "executed", "insert", "stored_values", "update"]
