"""Rigs that several tests share: an sshd, an adbd, compressors, and answers from a device."""
