"""Amounts of money as people write them."""


def written(cents: int, currency: str) -> str:
    return f"{cents / 100:.2f} {currency}"
