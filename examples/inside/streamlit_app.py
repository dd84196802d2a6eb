"""Streamlit: a page that shows the loop of the server under it."""

import streamlit
from streamlit.runtime import get_instance

streamlit.write("runs on", type(get_instance()._async_objs.eventloop).__module__)
