"""Secrets for tests: the one of Standard Webhooks' published test vector, and three that were drawn for this file."""

PUBLISHED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtMDAwMA=="
NEW = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctMDAwMDA="
FOREIGN = "whsec_Zm9yZWlnbi1mb3JlaWduLWZvcmVpZ24tMDAwMA"  # without padding, which may be left out
