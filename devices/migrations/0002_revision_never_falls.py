from django.db import migrations

from countonme.db.migration_operations import PostgresSQL

FORWARDS = """
CREATE FUNCTION device_revision_never_falls() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the revision of device % would fall from % to %', OLD.id, OLD.revision, NEW.revision
        USING ERRCODE = 'check_violation', CONSTRAINT = 'device_revision_never_falls';
END
$$;
CREATE TRIGGER device_revision_never_falls BEFORE UPDATE OF revision ON devices
    FOR EACH ROW WHEN (NEW.revision < OLD.revision) EXECUTE FUNCTION device_revision_never_falls();
"""

BACKWARDS = """
DROP TRIGGER device_revision_never_falls ON devices;
DROP FUNCTION device_revision_never_falls();
"""


class Migration(migrations.Migration):
    """Numbers that are given out twice would hide rows from phones for ever."""

    dependencies = [("devices", "0001_initial")]

    operations = [PostgresSQL(FORWARDS, BACKWARDS)]
