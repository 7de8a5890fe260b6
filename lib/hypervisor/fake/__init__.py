"""The fake hypervisor: guests that are only written down."""
