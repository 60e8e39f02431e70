from django.contrib import admin

admin.site.site_header = "CountOnMe support"
admin.site.site_title = "CountOnMe"
admin.site.index_title = "Devices and what they keep"
admin.site.site_url = "/v1/docs"
