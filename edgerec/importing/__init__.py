"""Import: trained models of other libraries become DeviceModels."""
