import pytest
from django.core.management import call_command


@pytest.mark.django_db(transaction=True)
class TestSupportPermissions:
    def test_are_added_and_removed_by_their_migration(self, support_group):
        permissions = support_group.permissions.filter(content_type__app_label="notebook")
        call_command("migrate", "notebook", "0001", verbosity=0)
        without = permissions.count()
        call_command("migrate", "notebook", verbosity=0)

        assert without == 0
        assert set(permissions.values_list("codename", "name")) == {
            ("view_note", "Can view note"),
            ("change_note", "Can change note"),
            ("view_line", "Can view line"),
            ("change_line", "Can change line"),
        }
        assert support_group.permissions.count() > 4
