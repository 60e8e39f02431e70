"""The model of /v1/devices/me and /v1/auth: registration, tokens and erasure."""

from tests.contract.model import Device, Refused, Response, Unknown, known


def register_again(device_id: str) -> Response:
    raise Refused(409, "Device already registered", conflict=[device_id])


def read(device: Device) -> Response:
    return Response(200, {"id": device.id, "created_at": known(device.created_at), "last_seen_at": Unknown("time")})


def rotate(device: Device) -> Response:
    """A second rotation replaces the next token. The current one works until the next one is used."""
    if device.next_token:
        device.service.invalid_tokens.append(device.next_token)
    device.next_token = Unknown("token")
    return Response(200, {"token": device.next_token})


def use_next_token(device: Device) -> Response:
    device.service.invalid_tokens.append(device.token)
    device.token, device.next_token = device.next_token, None
    return read(device)


def use_invalid_token() -> Response:
    raise Refused(401, "Invalid or expired token")


def erase(device: Device) -> Response:
    device.service.invalid_tokens += [token for token in (device.token, device.next_token) if token]
    device.service.erased_devices.append(device.id)
    return Response(204)
