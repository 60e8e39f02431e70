from django.apps import AppConfig
from django.contrib.admin import apps as django_admin


class SupportConfig(AppConfig):
    name = "support"
    default = True


class SupportAdminConfig(django_admin.AdminConfig):
    """Django's admin with SupportSite. In INSTALLED_APPS, it replaces `django.contrib.admin`."""

    default = False
    default_site = "support.site.SupportSite"
