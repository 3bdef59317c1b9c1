"""Bytes that nobody should send, made of messages that everybody sends."""
