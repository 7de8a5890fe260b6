"""KVM: guests that QEMU runs."""
