"""Tests of scenarios/proof."""
