"""The value that flows: a DeviceModel with its tables, codecs, ops and head. numpy only."""
