"""Scrapy: a spider that prints the loop that it runs on; the loop is a setting of the project or the command line."""

import asyncio

import scrapy


class Spider(scrapy.Spider):
    name = "spider"

    async def start(self):
        print(type(asyncio.get_running_loop()).__module__)
        yield scrapy.Request("data:,hello")

    def parse(self, response):
        print(response.text)
