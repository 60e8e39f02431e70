import factory
from django.utils.module_loading import autodiscover_modules

from ownership.models import change_set


class OwnedFactory(factory.django.DjangoModelFactory):
    """Creates rows in a change set of their `device`."""

    class Meta:
        abstract = True

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        with change_set(kwargs["device"]):
            return cls.build_row(model_class, **kwargs)

    @classmethod
    def build_row(cls, model_class, **kwargs):
        return model_class.objects.create(**kwargs)


def factories() -> list[type[OwnedFactory]]:
    """Return the factories of all device-owned models, from the `tests/factories.py` of each app."""
    autodiscover_modules("tests.factories")
    return OwnedFactory.__subclasses__()
