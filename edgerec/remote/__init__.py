"""Run bundles elsewhere: over ssh, on an Android device, or on an emulated arm64 machine."""
