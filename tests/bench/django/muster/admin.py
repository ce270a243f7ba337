"""The lists with the columns, the order and the page size of Muster's own."""

from django.contrib import admin
from django.utils import timezone

from . import models


class Listed(admin.ModelAdmin):
    list_per_page = 50
    list_max_show_all = 0


def state_of(cluster):
    """As near as Muster's rule as a line of Python comes."""
    if cluster.stopped_at:
        return "stopped"
    if not cluster.beat_at:
        return "never"
    age = (timezone.now() - cluster.beat_at).total_seconds()
    return "offline" if age > 3 * cluster.interval_s else "online"


@admin.register(models.Cluster)
class ClusterAdmin(Listed):
    list_display = (
        "install_id", "cluster_id", "name", "state", "address", "host", "version", "beat_at", "modified_by", "created_at",
        "modified_at",
    )
    ordering = ("name", "install_id")

    def state(self, cluster):
        return state_of(cluster)


@admin.register(models.Menu)
class MenuAdmin(ClusterAdmin):
    list_display = ("name", "address", "state", "beat_at")
    list_per_page = 100


@admin.register(models.Workspace)
class WorkspaceAdmin(Listed):
    list_display = ("name", "description", "folder", "cluster", "state", "modified_by", "created_at", "modified_at")
    list_select_related = ("cluster",)
    ordering = ("name_key",)

    def state(self, workspace):
        return state_of(workspace.cluster) if workspace.cluster else "-"


@admin.register(models.Group)
class GroupAdmin(Listed):
    list_display = ("name", "members", "modified_by", "modified_at")
    ordering = ("name_key",)

    def get_queryset(self, request):
        return super().get_queryset(request).prefetch_related("clusters")

    def members(self, group):
        return ", ".join(f"{cluster.name} {state_of(cluster)}" for cluster in group.clusters.all())


@admin.register(models.Asset)
class AssetAdmin(Listed):
    list_display = ("name", "kind", "address", "group", "state", "checked", "latency", "modified_at")
    list_select_related = ("group", "watch")
    ordering = ("name_key", "asset_id")

    def checked(self, asset):
        return asset.watch.checked_at

    def latency(self, asset):
        return asset.watch.latency_us


@admin.register(models.Audit)
class AuditAdmin(Listed):
    list_display = ("at", "actor", "role", "action", "object_kind", "object_name", "changes", "result", "address", "server")
    list_select_related = ("server",)
    ordering = ("-audit_id",)
