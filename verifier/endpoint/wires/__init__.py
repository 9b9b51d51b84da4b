"""Adapters between the plain Ask and Reply and the API flavours that servers speak. Pure build and parse."""
