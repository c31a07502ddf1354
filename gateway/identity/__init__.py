"""Who calls and what they may do, decided in one place. Knows no transport: credentials come in as bytes, names and times.

Rooms, in reading order: scopes, certificates, settings, tenants, quota, principals, access, keys, key_file, jwks, tokens, callers, gate.
"""
