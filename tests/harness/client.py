"""A test client that calls the API in the same process, with the token of a device."""

from rest_framework.test import APIClient


class DeviceClient(APIClient):
    """An API client that authenticates as one device."""

    def __init__(self, token: str, **kwargs):
        super().__init__(**kwargs)
        self.use(token)

    def use(self, token: str) -> None:
        self.token = token
        self.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
