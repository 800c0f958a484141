"""What a contact would get, before anybody gets it: a template or a step, in each of its languages.

`reading` finds what is meant, `rendering` composes it as a worker would, `page` shows it in a browser.
"""
